"""What two workers on this machine wait for each other's gradients, in the demo's step.

Each worker is a process with one thread, as Ray starts them, and the gradients go through Gloo on loopback.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import yaml
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lia_model.losses.terms import build_objective
from lia_model.settings import TrainSettings
from lia_model.training.data_parallel import GradientMean, settle_buckets, wrapper_options
from lia_model.training.pairs.batch_share import BatchShare
from lia_model.training.state import new_state
from lia_model.training.step import Networks, training_step
from tests.benchmarks.timing import Row
from tests.benchmarks.training_phases import CPU, PRESET, cycle

NUM_WORKERS = 2
NUM_CYCLES = 1
"""Of steps in a timed run: as many as all lazy terms need to come as often as they do."""


def measure(num_rounds: int, vgg: Path) -> Iterator[Row]:
    """Yield one row: seconds a step with the exchange, as `ours`, without it, and of the exchange alone."""
    if not vgg.is_file():
        return
    preset = yaml.safe_load(PRESET.read_text())
    settings = TrainSettings.model_validate(preset["train"])
    size_px = preset["shards"]["crop"]["size_px"]
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        answer, told = spawn.Pipe(duplex=False)
        workers = [
            spawn.Process(
                target=_work, args=(rank, Path(folder) / "ranks", settings, size_px, num_rounds, told)
            )
            for rank in range(NUM_WORKERS)
        ]
        for worker in workers:
            worker.start()
        # So that a worker that dies ends the wait.
        told.close()
        seconds, num_bytes = answer.recv()
        for worker in workers:
            worker.join()
    note = (
        f"{NUM_WORKERS} workers of one thread, {settings.micro_batch_size} pairs each; "
        f"{num_bytes / 1e6:.1f} MB of gradients of G a step"
    )
    yield Row("training", "demo, a step of two workers: all-reduce", seconds, note)


def _work(
    rank: int, meeting: Path, settings: TrainSettings, size_px: int, num_rounds: int, told: Connection
) -> None:
    torch.set_num_threads(settings.num_threads)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=NUM_WORKERS)
    exchanging, apart = (_networks(settings, size_px, is_wrapped) for is_wrapped in (True, False))
    gradients = {
        name: sum(one.numel() for one in network.parameters())
        for name, network in (("G", apart.generator), ("D", apart.discriminator))
    }
    sums = {name: torch.zeros(number) for name, number in gradients.items()}
    d_every_steps = settings.losses.adversarial.every_steps

    def exchange(step: int) -> None:
        distributed.all_reduce(sums["G"])
        if step % d_every_steps == 0:
            distributed.all_reduce(sums["D"])

    candidates = {
        "ours": _steps_of(exchanging, settings, size_px, rank),
        "without exchange": _steps_of(apart, settings, size_px, rank),
        "exchange alone": exchange,
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    num_steps = NUM_CYCLES * cycle(settings)
    for turn in range(num_rounds + 1):
        for name, run in candidates.items():
            distributed.barrier()
            started = time.perf_counter()
            for step in range(num_steps):
                run(step)
            distributed.barrier()
            # The first turn is not counted.
            if turn:
                seconds[name].append((time.perf_counter() - started) / num_steps)
    if rank == 0:
        told.send((seconds, 4 * gradients["G"]))
    distributed.destroy_process_group()


def _networks(settings: TrainSettings, size_px: int, is_wrapped: bool) -> Networks:
    state = new_state(settings, size_px, CPU)
    generator, discriminator = (
        _wrap(network) if is_wrapped else network for network in (state.generator, state.discriminator)
    )
    networks = Networks(
        generator,
        discriminator,
        state.generator_optimizer,
        state.discriminator_optimizer,
        generator_mean=GradientMean(generator),
        discriminator_mean=GradientMean(discriminator),
    )
    settle_buckets(generator, discriminator, torch.autocast("cpu", enabled=False))
    return networks


def _wrap(network: nn.Module) -> nn.Module:
    return DistributedDataParallel(network, **wrapper_options())


def _steps_of(
    networks: Networks, settings: TrainSettings, size_px: int, rank: int
) -> Callable[[int], object]:
    objective = build_objective(settings.losses, CPU)
    share = BatchShare.of(settings, rank, NUM_WORKERS)
    num_images = len(share.numbers(0))
    source, driving = torch.rand(2, num_images, 3, size_px, size_px) * 2 - 1
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16")
    return lambda step: training_step(
        networks, source, driving, step=step, objective=objective, autocast=autocast, share=share
    )
