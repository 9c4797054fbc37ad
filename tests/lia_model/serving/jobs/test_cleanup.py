import os
import time

import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.cleanup import ORPHAN_S, Cleanup
from lia_model.serving.jobs.job import Order
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import Error, ModelVersion
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import assert_refused

MODEL = ModelVersion(name="lia", version="1")
KEEP_S = 1000.0


class Clock:
    now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database, clock):
    return JobStore(database, RetryRules(lease_s=10, max_losses=1), clock)


@pytest.fixture
def cleanup(store, tmp_path):
    return Cleanup(store, JobMedia(tmp_path / "media"), KEEP_S, max_stored_bytes=100)


def submit(store, folder, *ids, batch=None, stored_bytes=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source", "driving"):
        (folder / name).write_bytes(b"media")
    files = (folder / "source", folder / "driving")
    orders = {
        one: Order(*files, folder / f"{one}.mp4", AnimationOptions(), MODEL, stored_bytes=stored_bytes)
        for one in ids
    }
    store.submit(orders, 10, batch)


def finish(store, content=b"video"):
    job = store.claim(MODEL)
    job.folder.mkdir()
    (job.folder / "result.mp4").write_bytes(content)
    assert store.finish(job, job.folder / "result.mp4", 1)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("batch", "left"), [(None, set()), ("batch", {"source", "driving"})])
def test_a_lost_runner_leaves_neither_uploads_nor_working_files(store, cleanup, clock, tmp_path, batch, left):
    folder = tmp_path / "media" / "a"
    submit(store, folder, "a", batch=batch)
    working = store.claim(MODEL).folder
    working.mkdir()
    clock.now += 11
    assert store.claim(MODEL) is None
    clock.now += 9
    cleanup.run_once()
    assert names(folder) == left | {"source", "driving", working.name}
    clock.now += 11
    cleanup.run_once()
    assert names(folder) == left
    assert store.get("a").order.error.code == "worker_lost"


def test_files_of_jobs_that_have_not_ended_are_kept(store, cleanup, clock, tmp_path):
    for name in "ab":
        submit(store, tmp_path / "media" / name, name)
    working = store.claim(MODEL).folder
    working.mkdir()
    clock.now += 9
    cleanup.run_once()
    assert names(tmp_path / "media" / "a") == {"source", "driving", working.name}
    assert names(tmp_path / "media" / "b") == {"source", "driving"}


def test_results_and_rows_expire_and_the_results_of_a_batch_stay(store, cleanup, clock, tmp_path):
    submit(store, tmp_path / "media" / "a", "a")
    submit(store, tmp_path / "out", "b", batch="batch")
    finish(store)
    finish(store)
    clock.now += KEEP_S - 1
    cleanup.run_once()
    assert names(tmp_path / "media" / "a") == {"a.mp4"}
    assert store.get("b") is not None
    clock.now += 2
    cleanup.run_once()
    assert names(tmp_path / "media") == set()
    assert names(tmp_path / "out") == {"source", "driving", "b.mp4"}
    assert (store.get("a"), store.get_batch("batch")) == (None, [])


def test_a_batch_expires_whole_after_its_last_job_has_ended(store, cleanup, clock, tmp_path):
    submit(store, tmp_path / "out", "a", "b", batch="batch")
    store.cancel("a")
    clock.now += 2 * KEEP_S
    cleanup.run_once()
    assert [job.id for job in store.get_batch("batch")] == ["a", "b"]
    store.fail(store.claim(MODEL), Error(code="no_face", message="there is none"))
    clock.now += KEEP_S + 1
    cleanup.run_once()
    assert store.get_batch("batch") == []


def test_old_folders_without_a_job_are_deleted(store, cleanup, tmp_path):
    submit(store, tmp_path / "media" / "a", "a")
    old_s = time.time() - ORPHAN_S - 60
    for name in ("old", "new"):
        (tmp_path / "media" / name).mkdir()
    for name in ("a", "old"):
        os.utime(tmp_path / "media" / name, (old_s, old_s))
    cleanup.run_once()
    assert names(tmp_path / "media") == {"a", "new"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_thread_outlives_an_error(store, cleanup, clock, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lia_model.serving.jobs.cleanup.INTERVAL_S", 0.05)
    submit(store, tmp_path / "out", "a")
    finish(store)
    (tmp_path / "jobs.sqlite").rename(tmp_path / "away")
    (tmp_path / "jobs.sqlite").mkdir()
    cleanup.start()
    deadline = time.monotonic() + 20
    while "the clean-up failed" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (tmp_path / "jobs.sqlite").rmdir()
    (tmp_path / "away").rename(tmp_path / "jobs.sqlite")
    clock.now += KEEP_S + 1
    while store.get("a") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cleanup.stop()


def test_over_http_an_expired_animation_is_not_found(tmp_path):
    with live(tmp_path) as service:
        with service.running():
            link = service.submit()
            service.ended(link)
        service.cleanup.run_once()
        assert service.client.get(f"{link}/video").status_code == 200
        time.sleep(0.01)
        Cleanup(service.jobs, service.job_media, keep_s=0, max_stored_bytes=10**9).run_once()
        assert_refused(service.client.get(link), 404, "not_found")
        assert names(service.media) == set()


def test_the_oldest_results_go_when_all_of_them_exceed_the_quota(store, cleanup, clock, tmp_path):
    for name in "abcd":
        folder = tmp_path / "media" / name
        submit(store, folder, name, stored_bytes=10)
        finish(store, b"v" * 40)
        clock.now += 1
    submit(store, tmp_path / "media" / "e", "e", stored_bytes=10)
    cleanup.run_once()
    # 4 results of 40 bytes and one upload of 10.
    assert names(tmp_path / "media") == {"c", "d", "e"}
    assert [job.id for job in store.newest(9)] == ["e", "d", "c"]
    assert store.num_stored_bytes() == 90
    assert store.num_stored_bytes(of_active=True) == 10


def test_results_of_batches_are_no_part_of_the_quota(store, cleanup, tmp_path):
    submit(store, tmp_path / "out", "a", batch="batch")
    finish(store, b"v" * 400)
    cleanup.run_once()
    assert store.num_stored_bytes() == 0
    assert (tmp_path / "out" / "a.mp4").is_file()


def test_uploads_of_a_failed_job_are_no_part_of_the_quota_once_deleted(store, cleanup, clock, tmp_path):
    submit(store, tmp_path / "media" / "a", "a", stored_bytes=90)
    store.fail(store.claim(MODEL), Error(code="no_face", message="none"))
    clock.now += 11
    cleanup.run_once()
    assert store.num_stored_bytes() == 0
    assert store.get("a") is not None
