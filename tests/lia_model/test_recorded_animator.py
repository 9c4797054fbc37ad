"""The animator with compilation `cuda-graphs`: on a CPU with graphs that compute again, and on a GPU."""

import copy
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import pytest
import torch

from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from tests.gpu import needs_gpu
from tests.lia_model.device.played_back import play_back

BATCH_SIZE = 4


@pytest.fixture
def frames():
    noise = np.random.default_rng(0).integers(0, 64, (10, 32, 32, 3), dtype=np.uint8)
    # Of different brightness, so that their motion weights differ.
    return noise + np.linspace(0, 190, 10).astype(np.uint8)[:, None, None, None]


@pytest.fixture
def graphs(monkeypatch):
    return play_back(monkeypatch)


@pytest.fixture
def recorded(generator, graphs):
    return Animator(generator, "cpu", "fp32", "cuda-graphs")


@pytest.fixture
def plain(generator):
    return Animator(generator, "cpu", "fp32")


def photo(animator, frames, mode):
    return animator.animate(frames[0], frames, mode, BATCH_SIZE)


def video(animator, frames, mode):
    return animator.animate(iter(frames[::-1]), frames, mode, BATCH_SIZE)


def from_best_start(animator, frames, mode):
    """As `animate_file` does it with start `best`, which weighs the source alone."""
    motion = list(animator.motion_weights(frames, BATCH_SIZE))
    own = next(animator.motion_weights(frames[:1], BATCH_SIZE))
    start = motion[int(np.linalg.norm(motion - own, axis=1).argmin())] if mode == "relative" else None
    return animator.synthesize(frames[0], motion, start, BATCH_SIZE)


def two_faces(animator, frames, mode):
    """As `animate_file` does it with face `all`: the results of two portraits are asked for by turns."""
    each = [animator.animate(face, frames, mode, BATCH_SIZE) for face in (frames[3], frames[7])]
    for pair in zip_longest(*each):
        yield from pair


def enlarged(animator, frames, mode):
    return photo(animator, frames.repeat(2, 1).repeat(2, 2), mode)


USES = [photo, video, from_best_start, two_faces, enlarged]


def apart(one, other):
    return np.abs(np.stack(list(one)).astype(int) - np.stack(list(other)).astype(int)).max()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_frames_are_the_same(recorded, plain, frames, use, mode):
    assert apart(use(recorded, frames, mode), use(plain, frames, mode)) <= 1


def test_the_networks_see_batches_of_one_size_only(recorded, frames):
    seen = set()
    for network in (recorded.model.encoder, recorded.model.synthesis):
        network.register_forward_pre_hook(lambda _, inputs: seen.add(len(inputs[0])))
    for use in USES:
        assert list(use(recorded, frames, "relative"))
    assert seen == {BATCH_SIZE}


def test_warming_up_records_all_that_is_used_later(recorded, graphs, frames):
    recorded.warm_up(BATCH_SIZE)
    num_captured = graphs.num_captured
    assert num_captured > 0
    for use in USES:
        list(use(recorded, frames, "relative"))
        list(use(recorded, frames, "absolute"))
    assert graphs.num_captured == num_captured


def in_threads(animator, wanted, frames, num_threads):
    """Animate in threads of their own, at the same time; return how far the frames are off at most."""

    def work(use):
        return apart(use(animator, frames, "relative"), wanted[use])

    with ThreadPoolExecutor(num_threads) as pool:
        return max(pool.map(work, USES[:num_threads]))


def test_it_is_first_used_in_threads(recorded, plain, frames):
    wanted = {use: list(use(plain, frames, "relative")) for use in USES}
    assert in_threads(recorded, wanted, frames, len(USES)) <= 1


def test_a_dropped_animator_is_freed_with_its_recordings(generator, graphs, frames):
    import gc
    import weakref

    animator = Animator(generator, "cpu", "fp32", "cuda-graphs")
    list(photo(animator, frames, "relative"))
    model = weakref.ref(animator.model)
    gc.disable()
    try:
        del animator
        assert model() is None
    finally:
        gc.enable()


@needs_gpu
@pytest.mark.parametrize("num_warm_ups", [0, 1])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_frames_are_the_same_in_threads(num_warm_ups, precision, frames):
    settings = NetworkSettings(size_px=32, width=0.125, latent_dim=64, num_directions=10)
    generator = build_generator(settings, 1).eval()
    generator.synthesis.weaken_flow(0.05, 2.0)
    plain = Animator(copy.deepcopy(generator), "cuda", precision)
    recorded = Animator(generator, "cuda", precision, "cuda-graphs")
    wanted = {use: list(use(plain, frames, "relative")) for use in USES}
    for _ in range(num_warm_ups):
        recorded.warm_up(BATCH_SIZE)
    for num_threads in (1, len(USES)):
        assert in_threads(recorded, wanted, frames, num_threads) <= (1 if precision == "fp32" else 8)


@needs_gpu
def test_on_a_gpu_recorded_frames_come_faster(frames):
    settings = NetworkSettings(size_px=64, width=0.25, latent_dim=64, num_directions=10)
    generator = build_generator(settings, 1).eval()
    seconds = []
    for compilation in ("none", "cuda-graphs"):
        animator = Animator(copy.deepcopy(generator), "cuda", "bf16", compilation)
        animator.warm_up(1)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(5):
            list(animator.animate(frames[0], frames, "absolute", 1))
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end))
    assert seconds[1] < seconds[0] / 1.5
