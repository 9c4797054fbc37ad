import multiprocessing
import os

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lia_model.training.finite_gate import FiniteGate, backpropagate
from lia_model.training.stop import NonFiniteError
from tests.ports import free_port

INFINITY = float("inf")


def network(fused):
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    return layer, torch.optim.Adam(layer.parameters(), betas=(0.0, 0.9), fused=fused)


def contents(layer, optimizer):
    moments = [dict(optimizer.state[parameter]) for parameter in layer.parameters()]
    return [value.clone() for values in moments for value in values.values()] + [
        parameter.detach().clone() for parameter in layer.parameters()
    ]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), INFINITY, -INFINITY])
def test_from_a_bad_loss_on_nothing_changes_and_the_report_names_its_step(fused, bad):
    layer, optimizer = network(fused)
    gate = FiniteGate()
    for step in range(1, 7):
        loss = layer(torch.ones(2, 3)).square().mean()
        if step == 4:
            before = contents(layer, optimizer)
            # Infinite with a finite gradient.
            loss = loss + bad
        optimizer.zero_grad()
        backpropagate(loss)
        gate.update("layer", optimizer, max_norm=None)
        gate.record(step, {"fine": torch.zeros(()), "loss/l1": loss.detach()})
        if step == 3:
            gate.check()
    after = contents(layer, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with pytest.raises(NonFiniteError, match=rf"^loss/l1 was {bad} at step 4; .* it stands"):
        gate.check()


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_a_gradient_that_overflows_under_a_finite_loss_is_named(max_norm):
    layer, optimizer = network(fused=True)
    weights = layer.weight.detach().clone()
    gate = FiniteGate()
    # The square root has the slope infinity at 0.
    loss = (layer.weight - weights).abs().sum().sqrt()
    backpropagate(loss)
    gate.update("layer", optimizer, max_norm)
    gate.record(1, {"loss/x": loss.detach()})
    assert torch.equal(layer.weight, weights)
    with pytest.raises(NonFiniteError, match=r"^gradient norm of the layer was nan at step 1;"):
        gate.check()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("max_norm", [None, 0.1])
def test_an_open_gate_alters_no_bit_of_an_update(fused, max_norm):
    (gated, optimizer), (plain, plain_optimizer) = network(fused), network(fused)
    gate = FiniteGate()
    for step in range(3):
        images = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        backpropagate(gated(images).square().mean())
        gate.update("layer", optimizer, max_norm)
        plain_optimizer.zero_grad()
        plain(images).square().mean().backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
        plain_optimizer.step()
    ours, theirs = contents(gated, optimizer), contents(plain, plain_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _rank(rank, port, answers):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    layer, optimizer = network(fused=False)
    wrapped, gate = DistributedDataParallel(layer), FiniteGate()
    before = layer.weight.detach().clone()
    loss = wrapped(torch.ones(2, 3)).square().mean()
    loss = loss + INFINITY if rank == 1 else loss
    optimizer.zero_grad()
    backpropagate(loss)
    gate.update("layer", optimizer, max_norm=None)
    gate.record(7, {"loss/l1": loss.detach()})
    try:
        gate.check()
    except NonFiniteError as error:
        answers.put((str(error), torch.equal(layer.weight, before)))
    torch.distributed.destroy_process_group()


def test_every_rank_stops_at_the_loss_of_one(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("spawn")
    answers, port = context.Queue(), free_port()
    ranks = [context.Process(target=_rank, args=(rank, port, answers)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    found = [answers.get(timeout=120) for _ in ranks]
    for rank in ranks:
        rank.join()
    assert {message.split(";")[0] for message, _ in found} == {"loss/l1 was inf at step 7"}
    assert all(unchanged for _, unchanged in found)
