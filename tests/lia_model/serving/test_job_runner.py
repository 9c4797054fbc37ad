import threading
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from PIL import Image

from lia_model.animation.framing import FaceCropper
from lia_model.animation.media_check import check_media
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animation.options import AnimationOptions
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.serving.job_runner import JobRunner
from lia_model.serving.jobs import JobStore, Order, new_id
from lia_model.serving.messages import JobStatus, ModelVersion
from lia_model.settings import NetworkSettings
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.service import MEDIA

NUM_FRAMES = 40


@pytest.fixture(scope="module")
def animator():
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    return Animator(build_generator(settings, seed=0), "cpu", "fp32")


@pytest.fixture(scope="module")
def cropper(models):
    return FaceCropper(FaceDetector(models / "scrfd", min_score=0.5, pad_px=64), 5, 1.2)


@pytest.fixture
def store(tmp_path):
    return JobStore(tmp_path / "jobs.sqlite", lease_s=2)


@pytest.fixture
def runner(store, animator, cropper):
    return JobRunner(store, animator, cropper, batch_size=2)


def order(folder, crop=False):
    """Ask for an animation of files that need not exist."""
    folder.mkdir()
    model = ModelVersion(name="lia", version="1")
    return Order(
        folder / "source", folder / "driving", folder / "video.mp4", AnimationOptions(crop=crop), model
    )


def fill(wanted):
    """Make the files that the order asks for."""
    Image.fromarray(np.full((40, 40, 3), 90, dtype=np.uint8)).save(wanted.source, "png")
    with VideoWriter(wanted.driving, Fraction(25), (32, 32)) as writer:
        for index in range(NUM_FRAMES):
            writer.write(np.full((32, 32, 3), 5 * index, dtype=np.uint8))
    return wanted


def queue(store, wanted, batch=None):
    job_id = new_id()
    store.submit({job_id: wanted}, 10, batch)
    return job_id


def wait(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_jobs_are_done_one_after_another_and_uploads_are_not_kept(store, runner, tmp_path):
    ids = [queue(store, fill(order(tmp_path / name))) for name in "ab"]
    runner.start()
    wait(lambda: all(store.get(one).status == JobStatus.SUCCEEDED for one in ids))
    runner.stop()
    assert not runner.is_alive
    for name in "ab":
        assert names(tmp_path / name) == {"video.mp4"}
        assert probe(tmp_path / name / "video.mp4").num_frames == NUM_FRAMES
    assert store.get(ids[0]).frames_done == store.get(ids[0]).frames_total == NUM_FRAMES


def test_a_truncated_clip_succeeds_with_a_warning_and_strict_refuses_it(store, runner, tmp_path):
    ids = []
    for name, strict in (("a", False), ("b", True)):
        wanted = fill(order(tmp_path / name))
        content = wanted.driving.read_bytes()
        wanted.driving.write_bytes(content[: len(content) * 3 // 4])
        ids.append(queue(store, replace(wanted, options=AnimationOptions(crop=False, strict=strict))))
        runner.perform(store.claim())
    whole_or_not, refused = map(store.get, ids)
    assert whole_or_not.status == JobStatus.SUCCEEDED
    assert "driving is damaged or incomplete" in whole_or_not.warnings[0]
    assert 0 < whole_or_not.frames_done < NUM_FRAMES
    assert (refused.status, refused.order.error.code) == (JobStatus.FAILED, "unreadable_media")


def test_files_of_a_batch_are_checked_against_the_limits(store, animator, cropper, tmp_path):
    check = partial(check_media, limits=MEDIA.model_copy(update={"max_num_frames": NUM_FRAMES - 1}))
    runner = JobRunner(store, animator, cropper, batch_size=2, check=check)
    ids = [
        queue(store, fill(order(tmp_path / "a")), batch="batch"),
        queue(store, fill(order(tmp_path / "b"))),
    ]
    for _ in ids:
        runner.perform(store.claim())
    refused, upload = map(store.get, ids)
    assert (refused.status, refused.order.error.code) == (JobStatus.FAILED, "too_large")
    assert f"more than {NUM_FRAMES - 1} frames" in refused.order.error.message
    assert upload.status == JobStatus.SUCCEEDED


def test_a_batchs_files_are_left_alone(store, runner, tmp_path):
    queue(store, fill(order(tmp_path / "a")), batch="batch")
    runner.perform(store.claim())
    assert names(tmp_path / "a") == {"source", "driving", "video.mp4"}


@pytest.mark.parametrize(
    ("crop", "has_files", "code"), [(True, True, "no_face"), (False, False, "unreadable_media")]
)
def test_what_is_wrong_with_the_files_fails_the_job_at_once(store, runner, tmp_path, crop, has_files, code):
    wanted = order(tmp_path / "a", crop=crop)
    job_id = queue(store, fill(wanted) if has_files else wanted)
    runner.perform(store.claim())
    job = store.get(job_id)
    assert (job.status, job.order.error.code) == (JobStatus.FAILED, code)
    assert names(tmp_path / "a") == set()


def show_two_faces(wanted, face):
    """Make the source a picture of one face beside itself."""
    Image.fromarray(np.concatenate([face, face], axis=1)).save(wanted.source, "png")


def test_a_face_that_is_not_in_the_picture_fails_the_job_at_once(store, runner, tmp_path, samples):
    wanted = fill(order(tmp_path / "a", crop=True))
    wanted = replace(wanted, options=AnimationOptions(face=3))
    show_two_faces(wanted, next(decode(samples / "WolfgangLanger_Pexels.mp4")).image)
    job_id = queue(store, wanted)
    runner.perform(store.claim())
    job = store.get(job_id)
    assert (job.status, job.order.error.code) == (JobStatus.FAILED, "no_such_face")
    assert "got face 3, but the source shows 2" in job.order.error.message


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({}, "unreadable_media", "the motion of another model"),
        ({"side_by_side": True}, "bad_options", "which holds no pictures"),
    ],
)
def test_a_motion_file_that_cannot_drive_fails_the_job_at_once(store, runner, tmp_path, options, code, words):
    wanted = fill(order(tmp_path / "a"))
    wanted = replace(wanted, options=AnimationOptions(crop=False, **options))
    write_motion(wanted.driving, Motion(np.zeros((2, 4), np.float32), Fraction(25), False, "another", None))
    job_id = queue(store, wanted)
    runner.perform(store.claim())
    job = store.get(job_id)
    assert (job.status, job.order.error.code) == (JobStatus.FAILED, code)
    assert words in job.order.error.message


def test_an_unexpected_error_is_retried_with_the_uploads_still_there(store, runner, tmp_path):
    wanted = fill(order(tmp_path / "a"))
    job_id = queue(store, wanted)
    # A file where the runner's folder should be: an unexpected error.
    job = store.claim()
    job.folder.write_text("in the way")
    runner.perform(job)
    assert store.get(job_id).status == JobStatus.QUEUED
    job.folder.unlink()
    runner.perform(store.claim())
    assert store.get(job_id).status == JobStatus.SUCCEEDED


def test_a_stopped_runner_gives_its_job_back(store, runner, tmp_path):
    job_id = queue(store, fill(order(tmp_path / "a")))
    runner.start()
    wait(lambda: store.get(job_id).status == JobStatus.RUNNING)
    runner.stop()
    job = store.get(job_id)
    assert job.status in (JobStatus.QUEUED, JobStatus.SUCCEEDED)
    assert not job.folder.exists()


def test_a_job_cancelled_meanwhile_shows_nothing(store, runner, tmp_path):
    wanted = fill(order(tmp_path / "a"))
    job_id = queue(store, wanted)
    job = store.claim()
    store.cancel(job_id)
    runner.perform(job)
    assert store.get(job_id).status == JobStatus.CANCELLED
    assert names(tmp_path / "a") == set()


def test_the_lease_is_renewed_while_the_work_takes_longer(tmp_path, animator, cropper):
    store = JobStore(tmp_path / "jobs.sqlite", lease_s=1)
    job_id = queue(store, fill(order(tmp_path / "a")))
    started = threading.Event()

    class SlowAnimator(Animator):
        def synthesize(self, *args, **more):
            started.set()
            time.sleep(1.8)
            yield from super().synthesize(*args, **more)

    runner = JobRunner(store, SlowAnimator(animator.generator, "cpu", "fp32"), cropper, batch_size=8)
    runner.start()
    assert started.wait(20)
    while store.get(job_id).status == JobStatus.RUNNING:
        assert store.claim() is None
        time.sleep(0.05)
    runner.stop()
    assert store.get(job_id).status == JobStatus.SUCCEEDED
    assert store.get(job_id).attempts == 1
