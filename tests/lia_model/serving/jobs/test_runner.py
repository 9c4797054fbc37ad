import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from lia_model.animation.framing import FaceCropper
from lia_model.animation.media_check import check_media
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animation.options import AnimationOptions
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.job import Order, new_id
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.jobs.table import JOBS
from lia_model.serving.messages import JobStatus, ModelVersion
from lia_model.settings import NetworkSettings
from lia_model.shared_animator import SharedAnimator
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.live import live, write_clip
from tests.lia_model.serving.service import MEDIA, assert_refused

NUM_FRAMES = 40
MODEL = ModelVersion(name="lia", version="1")


@pytest.fixture(scope="module")
def animator():
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    return Animator(build_generator(settings, seed=0), "cpu", "fp32")


@pytest.fixture(scope="module")
def cropper(models):
    return FaceCropper(FaceDetector(models / "scrfd", min_score=0.5, pad_px=64), 5, 1.2)


@pytest.fixture
def store(database):
    return JobStore(database, RetryRules(lease_s=2, back_off_s=0))


@pytest.fixture
def media(tmp_path):
    return JobMedia(tmp_path / "media")


@pytest.fixture
def runner(store, animator, cropper, media):
    return JobRunner(store, AnimationRun(animator, cropper, 2), MODEL, media)


def order(folder, crop=False):
    """Ask for an animation of files that need not exist."""
    folder.mkdir()
    return Order(
        folder / "source", folder / "driving", folder / "video.mp4", AnimationOptions(crop=crop), MODEL
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
        runner.perform(store.claim(MODEL))
    whole_or_not, refused = map(store.get, ids)
    assert whole_or_not.status == JobStatus.SUCCEEDED
    assert "driving is damaged or incomplete" in whole_or_not.warnings[0]
    assert 0 < whole_or_not.frames_done < NUM_FRAMES
    assert (refused.status, refused.order.error.code) == (JobStatus.FAILED, "unreadable_media")


def test_files_of_a_batch_are_checked_against_the_limits(store, animator, cropper, media, tmp_path):
    check = partial(check_media, limits=MEDIA.model_copy(update={"max_num_frames": NUM_FRAMES - 1}))
    runner = JobRunner(store, AnimationRun(animator, cropper, 2), MODEL, media, check)
    ids = [
        queue(store, fill(order(tmp_path / "a")), batch="batch"),
        queue(store, fill(order(tmp_path / "b"))),
    ]
    for _ in ids:
        runner.perform(store.claim(MODEL))
    refused, upload = map(store.get, ids)
    assert (refused.status, refused.order.error.code) == (JobStatus.FAILED, "too_large")
    assert f"more than {NUM_FRAMES - 1} frames" in refused.order.error.message
    assert upload.status == JobStatus.SUCCEEDED


def test_a_batchs_files_are_left_alone(store, runner, tmp_path):
    queue(store, fill(order(tmp_path / "a")), batch="batch")
    runner.perform(store.claim(MODEL))
    assert names(tmp_path / "a") == {"source", "driving", "video.mp4"}


@pytest.mark.parametrize(
    ("crop", "has_files", "code"), [(True, True, "no_face"), (False, False, "unreadable_media")]
)
def test_what_is_wrong_with_the_files_fails_the_job_at_once(store, runner, tmp_path, crop, has_files, code):
    wanted = order(tmp_path / "a", crop=crop)
    job_id = queue(store, fill(wanted) if has_files else wanted)
    runner.perform(store.claim(MODEL))
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
    runner.perform(store.claim(MODEL))
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
    runner.perform(store.claim(MODEL))
    job = store.get(job_id)
    assert (job.status, job.order.error.code) == (JobStatus.FAILED, code)
    assert words in job.order.error.message


def test_an_unexpected_error_is_retried_with_the_uploads_still_there(store, runner, tmp_path):
    wanted = fill(order(tmp_path / "a"))
    job_id = queue(store, wanted)
    # A file where the runner's folder should be: an unexpected error.
    job = store.claim(MODEL)
    job.folder.write_text("in the way")
    runner.perform(job)
    assert store.get(job_id).status == JobStatus.QUEUED
    job.folder.unlink()
    runner.perform(store.claim(MODEL))
    assert store.get(job_id).status == JobStatus.SUCCEEDED


def test_a_stopped_runner_gives_its_job_back(store, runner, tmp_path):
    job_id = queue(store, fill(order(tmp_path / "a")))
    runner.start()
    wait(lambda: store.get(job_id).status == JobStatus.RUNNING)
    runner.stop()
    job = store.get(job_id)
    assert job.status in (JobStatus.QUEUED, JobStatus.SUCCEEDED)
    assert job.folders() == []


def test_a_job_cancelled_meanwhile_shows_nothing(store, runner, tmp_path):
    wanted = fill(order(tmp_path / "a"))
    job_id = queue(store, wanted)
    job = store.claim(MODEL)
    store.cancel(job_id)
    runner.perform(job)
    assert store.get(job_id).status == JobStatus.CANCELLED
    assert names(tmp_path / "a") == set()


def test_the_lease_is_renewed_while_the_work_takes_longer(database, tmp_path, animator, cropper, media):
    store = JobStore(database, RetryRules(lease_s=2))
    job_id = queue(store, fill(order(tmp_path / "a")))
    started = threading.Event()

    class SlowAnimator(Animator):
        def synthesize(self, *args, **more):
            started.set()
            time.sleep(3)
            yield from super().synthesize(*args, **more)

    run = AnimationRun(SlowAnimator(animator.generator, "cpu", "fp32"), cropper, 8)
    runner = JobRunner(store, run, MODEL, media)
    runner.start()
    assert started.wait(20)
    while store.get(job_id).status == JobStatus.RUNNING:
        assert store.claim(MODEL) is None
        time.sleep(0.05)
    runner.stop()
    assert store.get(job_id).status == JobStatus.SUCCEEDED
    assert store.get(job_id).attempts == 1


class MeetingAnimator(SharedAnimator):
    """Each job waits before its first frame until three are there."""

    def __init__(self, animator):
        super().__init__(animator.generator, "cpu", "fp32")
        self.together = threading.Barrier(3)

    def synthesize(self, *args, **more):
        self.together.wait(30)
        yield from super().synthesize(*args, **more)


def test_several_jobs_are_animated_at_a_time_as_each_would_be_alone(store, runner, animator, media, tmp_path):
    ids = [queue(store, fill(order(tmp_path / name))) for name in "abcdef"]
    run = AnimationRun(MeetingAnimator(animator), None, 16)
    several = JobRunner(store, run, MODEL, media, num_jobs=3)
    several.start()
    wait(lambda: all(store.get(one).status == JobStatus.SUCCEEDED for one in ids))
    several.stop()
    assert not several.is_alive
    alone = queue(store, fill(order(tmp_path / "alone")))
    runner.perform(store.claim(MODEL))
    wanted = [frame.image.astype(int) for frame in decode(store.get(alone).order.output)]
    for one in ids:
        got = [frame.image.astype(int) for frame in decode(store.get(one).order.output)]
        assert np.abs(np.array(got) - wanted).max() <= 8


def test_a_stop_gives_all_jobs_back_that_are_not_done_in_time(store, animator, media, tmp_path):
    slow = SlowAnimator(animator)
    ids = [queue(store, fill(order(tmp_path / name))) for name in "ab"]
    runner = JobRunner(store, AnimationRun(slow, None, 4), MODEL, media, num_jobs=2)
    runner.start()
    wait(lambda: all(store.get(one).status == JobStatus.RUNNING for one in ids))
    stopping = threading.Thread(target=runner.stop, args=(0.1,))
    stopping.start()
    wait(lambda: runner._stopping.is_set())
    slow.may_go_on.set()
    stopping.join(20)
    assert [store.get(one).status for one in ids] == [JobStatus.QUEUED] * 2


class SlowAnimator(Animator):
    """Waits before the first frame until the test lets it go."""

    def __init__(self, animator):
        super().__init__(animator.generator, "cpu", "fp32")
        self.started, self.may_go_on = threading.Event(), threading.Event()

    def synthesize(self, *args, **more):
        self.started.set()
        assert self.may_go_on.wait(30)
        yield from super().synthesize(*args, **more)


def test_a_job_names_the_version_that_really_animated_it(tmp_path):
    with live(tmp_path, version="1") as service:
        link = service.submit()
        assert service.status(link)["model"] == {"name": "lia", "version": "1"}
        with service.running(version="2"):
            done = service.ended(link)
        assert (done["status"], done["model"]) == ("succeeded", {"name": "lia", "version": "2"})


def test_any_number_of_graceful_restarts_finish_a_job_in_the_end(tmp_path, animator):
    with live(tmp_path) as service:
        # Long enough not to be decoded whole before the stop.
        clip = write_clip(tmp_path / "long.mp4", 100).read_bytes()
        link = service.submit(driving=("b.mp4", clip))
        for _ in range(4):
            slow = SlowAnimator(animator)
            with service.running(animator=slow) as runner:
                assert slow.started.wait(20)
                threading.Timer(0.2, slow.may_go_on.set).start()
                runner.stop()
            assert service.status(link)["status"] == "queued"
        with service.running():
            assert service.ended(link)["status"] == "succeeded"


def test_the_lease_outlives_a_store_that_cannot_be_used_for_longer_than_it_lasts(tmp_path, animator, caplog):
    with live(tmp_path, rules=RetryRules(lease_s=1), busy_timeout_s=0.1) as service:
        link = service.submit()
        slow = SlowAnimator(animator)
        with service.running(animator=slow) as runner:
            assert slow.started.wait(20)
            with closing(sqlite3.connect(service.database_path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                wait(lambda: caplog.text.count("is not renewed") >= 2)
                slow.may_go_on.set()
                time.sleep(0.5)
                other.execute("ROLLBACK")
            assert service.ended(link)["status"] == "succeeded"
            assert service.jobs.get(link.rpartition("/")[2]).attempts == 1
            assert runner.is_alive


def test_the_lease_is_still_renewed_after_the_store_was_gone_for_a_while(tmp_path, animator, caplog):
    with live(tmp_path, rules=RetryRules(lease_s=1)) as service:
        link = service.submit()
        slow = SlowAnimator(animator)
        with service.running(animator=slow):
            assert slow.started.wait(20)
            away = service.database_path.rename(tmp_path / "away")
            service.database_path.mkdir()
            wait(lambda: "is not renewed: got `unable to open database file`" in caplog.text)
            assert_refused(service.client.get(link), 503, "unavailable")
            service.database_path.rmdir()
            away.rename(service.database_path)
            time.sleep(1.5)
            assert service.jobs.claim(MODEL) is None
            slow.may_go_on.set()
            assert service.ended(link)["status"] == "succeeded"


def put_folder(path):
    """Put a folder where a file was, which SQLite may create anew at any moment."""
    while not path.is_dir():
        path.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir()


def test_a_runner_goes_on_after_an_error_of_the_store(tmp_path, caplog):
    with live(tmp_path) as service, service.running() as runner:
        away = service.database_path.rename(tmp_path / "away")
        put_folder(service.database_path)
        wait(lambda: "unable to open database file" in caplog.text)
        assert runner.is_alive
        service.database_path.rmdir()
        away.rename(service.database_path)
        assert service.ended(service.submit())["status"] == "succeeded"


CLAIM_AND_DIE = """
import os, signal, sys
from pathlib import Path
from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.messages import ModelVersion
model = ModelVersion(name="lia", version="1")
jobs = JobStore(open_database(sys.argv[1]), RetryRules(lease_s=0.1), root=Path(sys.argv[2]))
job = jobs.claim(model)
job.folder.mkdir()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_given_up_after_lost_workers_leaves_no_uploads(tmp_path):
    with live(tmp_path, rules=RetryRules(lease_s=0.1, max_losses=1)) as service:
        link = service.submit()
        folder = service.media / link.rpartition("/")[2]
        subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, service.url, str(service.root)], check=False)
        assert len(names(folder)) == 3
        with service.running():
            done = service.ended(link)
        assert (done["status"], done["error"]["code"]) == ("failed", "worker_lost")
        time.sleep(0.2)
        service.cleanup.run_once()
        assert names(folder) == set()


def test_the_error_of_a_job_names_its_files_without_their_folders(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(tmp_path / "small.png")
    items = [{"source": "small.png", "driving": "small.png"}]
    with live(tmp_path) as service, service.running():
        batch = service.client.post("/v1/batches", json={"items": items, "output": "out"}).json()
        error = service.ended(batch["links"]["self"])["items"][0]["error"]
    assert error["code"] == "unreadable_media"
    assert error["message"].startswith("got small.png of 20x20 px; both sides must be at least 32 px")


def test_an_unexpected_failure_is_told_without_its_details(tmp_path, animator, caplog):
    class BrokenAnimator(Animator):
        def synthesize(self, *args, **more):
            raise RuntimeError(f"{tmp_path}/secret")

    with live(tmp_path) as service:
        link = service.submit()
        with service.running(animator=BrokenAnimator(animator.generator, "cpu", "fp32")):
            error = service.ended(link)["error"]
    assert error["message"] == "given up after 3 attempts: RuntimeError; the server's log has the details"
    assert f"{tmp_path}/secret" in caplog.text


@pytest.mark.parametrize(
    ("mode", "warnings"), [("RGB", []), ("RGBA", ["source has an alpha channel, lost in 8-bit RGB"])]
)
def test_a_conversion_warns_of_what_it_loses_and_a_rotation_of_nothing(tmp_path, mode, warnings):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new(mode, (50, 40)).save(tmp_path / "photo.png", exif=exif)
    with live(tmp_path) as service, service.running():
        done = service.ended(service.submit(source=("a.png", (tmp_path / "photo.png").read_bytes())))
    assert (done["status"], done["warnings"]) == ("succeeded", warnings)


def test_an_attempt_that_lost_its_lease_does_not_touch_the_files_of_the_next(tmp_path, animator):
    with live(tmp_path, rules=RetryRules(lease_s=0.5, back_off_s=0)) as service:
        clip = write_clip(tmp_path / "long.mp4", 30).read_bytes()
        link = service.submit(driving=("b.mp4", clip))
        slow = SlowAnimator(animator)
        with service.running(animator=slow):
            assert slow.started.wait(20)
            working = [path.name for path in (service.media / link.rpartition("/")[2]).glob(".*")]
            # As if the machine of the first had slept for longer than its lease, and another had the job now.
            with service.jobs.database.writing() as db:
                db.execute(sa.update(JOBS).values(lease="another"))
            heir = service.jobs.get(link.rpartition("/")[2])
            heir.folder.mkdir()
            (heir.folder / "result.mp4").write_bytes(b"half")
            slow.may_go_on.set()
            wait(lambda: not (heir.folder.parent / working[0]).exists())
        assert (heir.folder / "result.mp4").read_bytes() == b"half"
