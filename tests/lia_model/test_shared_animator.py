"""The animator that threads share: each gets the frames it would get alone."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.device.host_copies import in_turn
from lia_model.shared_animator import SharedAnimator
from tests.lia_model.device.played_back import play_back

BATCH_SIZE = 4
NUM_JOBS = 6


@pytest.fixture
def jobs():
    """A portrait and a clip for each job; clips of 1 to 11 frames, so that most batches are not full."""
    random = np.random.default_rng(0)
    portraits = random.integers(0, 256, (NUM_JOBS, 32, 32, 3), dtype=np.uint8)
    clips = [
        random.integers(0, 256, (2 * number + 1, 32, 32, 3), dtype=np.uint8) for number in range(NUM_JOBS)
    ]
    return list(zip(portraits, clips, strict=True))


@pytest.fixture
def shared(generator):
    return SharedAnimator(generator, "cpu", "fp32")


def frames_of(animator, job, mode="relative"):
    return np.stack(list(animator.animate(*job, mode, BATCH_SIZE)))


def apart(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int)).max()


@pytest.mark.parametrize("mode", ["absolute", "relative"])
@pytest.mark.parametrize("num_threads", [1, NUM_JOBS])
def test_jobs_get_the_frames_that_they_would_get_alone(generator, shared, jobs, mode, num_threads):
    alone = Animator(generator, "cpu", "fp32")
    wanted = [frames_of(alone, job, mode) for job in jobs]
    with ThreadPoolExecutor(num_threads) as pool:
        for _ in range(5):
            got = list(pool.map(lambda job: frames_of(shared, job, mode), jobs))
            assert max(map(apart, got, wanted)) <= 1


def test_frames_of_several_portraits_share_a_batch(generator, shared, jobs):
    sizes = []
    shared.model.synthesis.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    motion = list(shared.motion_weights(jobs[0][1]))
    started = [
        (shared._move(shared.encode(portrait), motion[:1], None, BATCH_SIZE), 1) for portrait, _ in jobs[:3]
    ]
    got = np.stack(list(in_turn(started, num_ahead=2)))
    assert sizes == [3]
    alone = Animator(generator, "cpu", "fp32")
    assert apart(got, np.stack([next(alone.synthesize(job[0], motion[:1])) for job in jobs[:3]])) <= 1


def test_a_wrong_picture_ends_its_own_job_alone(shared, jobs):
    wanted = frames_of(shared, jobs[1])
    grey = [np.zeros((32, 32), np.uint8)]
    with ThreadPoolExecutor(2) as pool:
        wrong = pool.submit(lambda: list(shared.motion_weights(iter(grey))))
        right = pool.submit(frames_of, shared, jobs[1])
        with pytest.raises(ValueError, match="images must be uint8 RGB"):
            wrong.result()
        assert apart(right.result(), wanted) <= 1


def test_source_videos_work_beside_portraits(generator, shared, jobs):
    _, clip = jobs[3]
    alone = Animator(generator, "cpu", "fp32")
    wanted = np.stack(list(alone.animate(iter(clip[::-1]), clip, "relative", BATCH_SIZE)))
    with ThreadPoolExecutor(2) as pool:
        pool.submit(frames_of, shared, jobs[5])
        video = pool.submit(lambda: list(shared.animate(iter(clip[::-1]), clip, "relative", BATCH_SIZE)))
        assert apart(np.stack(video.result()), wanted) <= 1


def test_recorded_batches_give_the_same_and_warming_up_records_them_all(generator, jobs, monkeypatch):
    alone = Animator(generator, "cpu", "fp32")
    wanted = [frames_of(alone, job) for job in jobs]
    graphs = play_back(monkeypatch)
    shared = SharedAnimator(generator, "cpu", "fp32", "cuda-graphs")
    shared.warm_up(BATCH_SIZE)
    num_captured = graphs.num_captured
    sizes = set()
    shared.model.synthesis.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    with ThreadPoolExecutor(NUM_JOBS) as pool:
        got = list(pool.map(lambda job: frames_of(shared, job), jobs))
    assert max(map(apart, got, wanted)) <= 1
    assert graphs.num_captured == num_captured > 0
    assert sizes == {BATCH_SIZE}


def test_a_dropped_animator_is_freed(generator, jobs):
    animator = SharedAnimator(generator, "cpu", "fp32")
    frames_of(animator, jobs[0])
    model = weakref.ref(animator.model)
    gc.disable()
    try:
        del animator
        assert model() is None
    finally:
        gc.enable()
