"""Processes that train as one: on the CPU, over gloo, with the real loop and without Ray."""

import multiprocessing

import numpy as np
import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from lia_model.data.sharded_clips import ShardedClips
from lia_model.networks.discriminator import Discriminator
from lia_model.training import loop
from lia_model.training.data_parallel import DataParallel, GradientMean, wrapper_options
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.pairs.loader import PairLoader
from lia_model.training.state import load_state, new_state, save_state
from tests.lia_model.shards_on_disk import write_shards
from tests.ports import free_port

CPU = torch.device("cpu")
MAX_RANKS = 4
NUM_STEPS = 5
NUM_STEPS_BEFORE = 2
# Distance in float32 after five steps from one process, whose sums have another order, as a part of the way
# that the weights have gone. A gradient that is zero but for rounding may have either sign, and Adam moves
# its weight by the whole rate. Measured at 2, 3 and 4 ranks: 5e-6, 1.3e-5 and 0.020.
FLOAT32_TOLERANCE = 0.1


class Float64Loader(PairLoader):
    def images(self, frames, numbers):
        source, driving = super().images(frames, numbers)
        return source.double(), driving.double()


def train(shards, settings, parallel, dtype, num_steps=NUM_STEPS, resumed_from=None):
    torch.set_num_threads(1)
    clips = ShardedClips(shards, "train")
    state = new_state(settings, 32, CPU)
    if resumed_from is not None:
        load_state(state, resumed_from)
    loader = build_loader(clips, settings)
    if dtype == torch.float64:
        for module in (state.generator, state.discriminator, state.average):
            module.to(dtype)
        loader.__class__ = Float64Loader
    run(state, loader, settings.model_copy(update={"num_steps": num_steps}), Hooks(), parallel)
    return state


def weights(state):
    modules = (state.generator, state.discriminator, state.average)
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()]).numpy()


def wrap(module):
    return DistributedDataParallel(module, **wrapper_options())


def at_once(shards, settings, parallel):
    """Return the weights that come of a mean for which the backward pass itself waits, as torch has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "GradientMean", lambda _: GradientMean())
        return weights(train(shards, settings, parallel, torch.float32))


def pending(shards, settings, parallel):
    """Return for each pass of the discriminator's own whether the generator's mean was still on its way."""
    means, seen = [], []

    class Kept(GradientMean):
        def __init__(self, network):
            super().__init__(network)
            means.append(self)

    class Watched(Discriminator):
        def forward(self, image, num_batches=1):
            if num_batches == 2:
                seen.append(means[0].is_pending)
            return super().forward(image, num_batches)

    def wrap_watched(module):
        if isinstance(module, Discriminator):
            module.__class__ = Watched
        return wrap(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "GradientMean", Kept)
        watching = DataParallel(parallel.rank, parallel.num_ranks, wrap_watched)
        train(shards, settings, watching, torch.float32, num_steps=1)
    return seen


def _rank(rank, ports, shards, settings, answers):
    for size, port in ports.items():
        if rank >= size:
            continue
        # A group of its own for each number of ranks: the loop gathers over all ranks there are.
        distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
        )
        parallel = DataParallel(rank, size, wrap)
        found = {
            "float64": weights(train(shards, settings, parallel, torch.float64)),
            "float32": weights(train(shards, settings, parallel, torch.float32)),
        }
        halfway = train(shards, settings, parallel, torch.float32, NUM_STEPS_BEFORE)
        folder = shards.parent / f"halfway-{rank}-of-{size}"
        save_state(halfway, folder, {})
        found["resumed"] = weights(train(shards, settings, parallel, torch.float32, resumed_from=folder))
        found["waiting"] = at_once(shards, settings, parallel)
        found["pending"] = pending(shards, settings, parallel)
        answers.put((size, rank, found))
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks") / "shards"
    clips = list(np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8))
    write_shards(folder, {"train": clips}, 32)
    return folder


@pytest.fixture(scope="module")
def settings(train_settings):
    # Eight images in four micro-batches, so that three ranks have different numbers of them; R1, whose second
    # derivatives go through the ranks' mean too.
    adversarial = train_settings.losses.adversarial
    r1 = adversarial.r1.model_copy(update={"weight": 1.0, "every_turns": 2})
    adversarial = adversarial.model_copy(update={"r1": r1})
    losses = train_settings.losses.model_copy(update={"adversarial": adversarial})
    return train_settings.model_copy(update={"global_batch_size": 8, "micro_batch_size": 2, "losses": losses})


@pytest.fixture(scope="module")
def found(shards, settings):
    """The weights of every rank of each number of ranks, by how they were trained."""
    context = multiprocessing.get_context("spawn")
    answers, ports = context.Queue(), {size: free_port() for size in range(1, MAX_RANKS + 1)}
    ranks = [
        context.Process(target=_rank, args=(rank, ports, shards, settings, answers))
        for rank in range(MAX_RANKS)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        for rank in ranks:
            rank.start()
    received = [answers.get(timeout=300) for _ in range(sum(range(MAX_RANKS + 1)))]
    for rank in ranks:
        rank.join()
    return {(size, rank): weights for size, rank, weights in received}


@pytest.fixture(scope="module")
def alone(shards, settings):
    return {
        "start": weights(new_state(settings, 32, CPU)),
        "float32": weights(train(shards, settings, DataParallel(), torch.float32)),
        "float64": weights(train(shards, settings, DataParallel(), torch.float64)),
    }


every_size = pytest.mark.parametrize("size", range(1, MAX_RANKS + 1))


@every_size
def test_any_number_of_ranks_trains_like_one_process(found, alone, size):
    movement = np.linalg.norm(alone["float32"] - alone["start"])
    for rank in range(size):
        assert np.abs(found[size, rank]["float64"] - alone["float64"]).max() <= 1e-9
        distance = np.linalg.norm(found[size, rank]["float32"] - alone["float32"])
        assert distance <= FLOAT32_TOLERANCE * movement


@every_size
def test_a_resumed_run_of_the_same_number_of_ranks_ends_bit_for_bit_the_same(found, size):
    for rank in range(size):
        assert np.array_equal(found[size, rank]["resumed"], found[size, rank]["float32"])
        assert np.array_equal(found[size, rank]["float32"], found[size, 0]["float32"])


@every_size
def test_the_ranks_take_the_mean_of_one_network_while_the_other_computes_and_no_bit_changes(found, size):
    for rank in range(size):
        assert found[size, rank]["pending"]
        assert all(found[size, rank]["pending"])
        assert np.array_equal(found[size, rank]["waiting"], found[size, rank]["float32"])
