"""Uploads and results in a real object store, with the API and the runner on disks of their own."""

import time

import pytest

from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.jobs.media import JobMedia
from preprocessing.media.video_reader import probe
from preprocessing.storage.object_store import Store
from tests.lia_model.serving.live import NUM_FRAMES, LiveService, runner_of
from tests.lia_model.serving.service import assert_refused, png
from tests.object_store import stoppable_s3

pytestmark = pytest.mark.slow


@pytest.fixture
def server(monkeypatch):
    with stoppable_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def store(server):
    return Store(f"{server.variables['LIA_STORE_URL']}/animations", "serve.media_store")


@pytest.fixture
def service(store, tmp_path):
    class SharedService(LiveService):
        media_store = store

    with SharedService(tmp_path / "here").serving() as service:
        yield service


@pytest.fixture
def runner(service, store, tmp_path):
    """A runner whose project is another folder, as on another machine."""
    there = tmp_path / "there"
    media = JobMedia(there / "serving" / "media", store)
    jobs = JobStore(
        service.jobs.database,
        RetryRules(lease_s=5, back_off_s=0),
        root=there,
        has_result=media.has_result,
    )
    return runner_of(jobs, media)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_runner_on_another_machine_animates_and_this_one_shows_the_result(service, runner, store):
    link = service.submit()
    job_id = link.rpartition("/")[2]
    assert files(service.media) == []
    assert runner.perform_next()
    assert service.status(link)["status"] == "succeeded"
    # Neither the uploads nor the files of the attempt are left, here or there.
    (result,) = store.bundles(job_id)
    assert result != f"{job_id}/uploads"
    answer = service.client.get(f"{link}/video")
    assert answer.status_code == 200
    assert files(service.media) == [f"{job_id}/video.mp4"]
    assert probe(service.media / job_id / "video.mp4").num_frames == NUM_FRAMES
    assert service.client.delete(link).status_code == 204
    assert store.bundles("") == [] == files(service.media)


def test_a_repeated_request_finds_the_result_that_is_in_the_store_alone(service, runner):
    headers = {"Idempotency-Key": "one"}
    request = {
        "files": {"source": ("a.png", png()), "driving": ("b.mp4", service.clip())},
        "headers": headers,
    }
    first = service.client.post("/v1/animations", data={"crop": "false"}, **request).json()
    assert runner.perform_next()
    again = service.client.post("/v1/animations", data={"crop": "false"}, **request).json()
    assert (again["id"], again["status"]) == (first["id"], "succeeded")


def test_an_outage_refuses_uploads_and_fails_no_job(service, runner, server):
    link = service.submit()
    server.stop()
    refused = service.post()
    assert_refused(refused, 503, "unavailable", "object store")
    assert files(service.media) == []
    runner.start()
    time.sleep(3)
    assert service.status(link)["status"] in ("queued", "running")
    server.start()
    done = service.ended(link)
    runner.stop()
    assert (done["status"], done["frames_done"]) == ("succeeded", NUM_FRAMES)
    assert service.client.get(f"{link}/video").status_code == 200


def test_the_clean_up_deletes_what_no_job_has_at_two_looks(service, store, tmp_path, monkeypatch):
    monkeypatch.setattr("lia_model.serving.jobs.cleanup.ORPHAN_S", 0.0)
    service.submit()
    (tmp_path / "file").write_bytes(b"of a request that was cut off")
    store.put("stray/uploads", {"source": tmp_path / "file"})
    cleanup = Cleanup(service.jobs, service.job_media, keep_s=3600, max_stored_bytes=10**9)
    cleanup.run_once()
    assert len(store.bundles("")) == 2
    cleanup.run_once()
    (kept,) = store.bundles("")
    assert kept != "stray/uploads"
