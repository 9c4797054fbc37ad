import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.client import Client
from lia_model.serving.client import http_client as module
from lia_model.serving.client.errors import AnimationFailedError, NoServiceError, NotYetError, RefusedError
from lia_model.serving.messages import BatchItem, BatchRequest, JobStatus, project_mark
from tests.lia_model.serving.live import NUM_FRAMES, LiveService, live
from tests.lia_model.serving.service import png
from tests.ports import free_port

WITHOUT_CROP = AnimationOptions(crop=False)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.05)
    monkeypatch.setattr(module, "RECONNECT_S", 0.05)


@contextmanager
def client_of(service, **more):
    with Client(str(service.client.base_url), **more) as client:
        yield client


def files_of(service):
    portrait, clip = service.root / "portrait.png", service.root / "clip.mp4"
    portrait.write_bytes(png())
    clip.write_bytes(service.clip())
    return portrait, clip


def test_an_animation_is_submitted_followed_and_downloaded(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.create(Scope.SUBMIT).secret
    with live(tmp_path, token_file=file) as service, client_of(service, token=token) as client:
        accepted = client.submit(*files_of(service), WITHOUT_CROP, model="lia")
        assert client.status(accepted.id).status is JobStatus.QUEUED
        seen = []
        with service.running():
            done = client.wait(accepted.id, seen.append)
        assert (done.status, done.frames_done) == (JobStatus.SUCCEEDED, NUM_FRAMES)
        assert (seen[-1], seen[0].id) == (done, accepted.id)
        assert all(one != other for one, other in pairwise(seen))
        client.download(accepted.id, tmp_path / "out.mp4")
        link = f"/v1/animations/{accepted.id}/video"
        expected = service.client.get(link, headers={"Authorization": f"Bearer {token}"}).content
        assert (tmp_path / "out.mp4").read_bytes() == expected
        client.cancel(accepted.id)
        with pytest.raises(RefusedError) as error:
            client.status(accepted.id)
        assert (error.value.status, error.value.code) == (404, "not_found")


def test_every_option_reaches_the_job(tmp_path):
    options = AnimationOptions(mode="absolute", face=2, paste_back=True, fps=12.5, strict=True)
    with live(tmp_path) as service, client_of(service) as client:
        job = client.submit(*files_of(service), options)
        assert service.jobs.get(job.id).order.options == options


def test_a_failed_animation_has_the_code_and_the_words_of_the_service(tmp_path):
    with live(tmp_path) as service, client_of(service) as client:
        job = client.submit(*files_of(service), AnimationOptions(paste_back=True, face="all"))
        with service.running(), pytest.raises(AnimationFailedError, match="face") as error:
            client.wait(job.id)
        assert error.value.code == "bad_options"
        assert error.value.status.status is JobStatus.FAILED


def test_one_does_not_wait_longer_than_asked(tmp_path):
    with live(tmp_path) as service, client_of(service) as client:
        job = client.submit(*files_of(service))
        with pytest.raises(NotYetError, match=job.id):
            client.wait(job.id, timeout_s=0.2)


def test_the_list_goes_on_over_all_pages(tmp_path):
    with live(tmp_path) as service, client_of(service) as client:
        ids = [client.submit(*files_of(service)).id for _ in range(5)]
        client.cancel(ids[0])
        assert [one.id for one in client.list_newest(page_size=2)] == ids[::-1]
        assert [one.id for one in client.list_newest(JobStatus.CANCELLED)] == [ids[0]]


def test_a_batch_is_submitted_and_read(tmp_path):
    with live(tmp_path) as service, client_of(service) as client:
        portrait, clip = files_of(service)
        item = BatchItem(source=portrait.name, driving=clip.name, name="one", crop=False)
        batch = client.submit_batch(BatchRequest(items=[item], output="out"))
        (status,) = client.batch_status(batch.id).items
        assert (status.status, Path(status.output).name) == (JobStatus.QUEUED, "one.mp4")


def test_the_models_and_the_project_are_read(tmp_path):
    with live(tmp_path, version="7") as service, client_of(service) as client:
        assert [(one.name, one.version) for one in client.models().models] == [("lia", "7")]
        assert client.project() == project_mark(service.root)


def test_a_refused_request_is_not_repeated(tmp_path):
    with live(tmp_path) as service, client_of(service) as client:
        portrait, clip = files_of(service)
        with pytest.raises(RefusedError, match="not served here") as error:
            client.submit(portrait, clip, model="other")
        assert (error.value.status, error.value.code) == (422, "bad_field")


def test_a_full_queue_is_waited_for_as_long_as_it_asks(tmp_path):
    with live(tmp_path, max_num_queued=1) as service, client_of(service) as client:
        files = files_of(service)
        first = client.submit(*files)
        with Client(client.endpoint, full_s=1) as hasty, pytest.raises(RefusedError) as error:
            hasty.submit(*files)
        assert (error.value.code, error.value.retry_after_s) == ("queue_full", 5)
        threading.Timer(0.5, lambda: service.jobs.cancel(first.id)).start()
        assert client.submit(*files).status is JobStatus.QUEUED


def test_a_service_that_restarts_is_waited_for(tmp_path):
    port = free_port()
    service = LiveService(tmp_path)
    with Client(f"http://127.0.0.1:{port}") as client, service.serving(port):
        job = client.submit(*files_of(service))

    def restart():
        time.sleep(0.5)
        with service.serving(port):
            ended.wait()

    ended = threading.Event()
    thread = threading.Thread(target=restart)
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.status(job.id).id == job.id
    finally:
        ended.set()
        thread.join()


def test_a_service_that_stays_away_is_given_up():
    with Client(f"http://127.0.0.1:{free_port()}", away_s=0.2) as client:
        for call in (client.models, client.project):
            with pytest.raises(NoServiceError, match="lia serve"):
                call()


@pytest.mark.parametrize("endpoint", ["nowhere", "ftp://127.0.0.1", "http://", "http://[", ""])
def test_what_is_no_url_of_a_service_is_refused(endpoint):
    with pytest.raises(NoServiceError, match="lia serve"), Client(endpoint, away_s=0) as client:
        client.models()


@contextmanager
def answering(status, body, **headers):
    """A server of another kind, which answers everything in one way and counts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.num_seen += 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            """Read nothing and break off, as a server that is killed."""
            self.server.num_seen += 1
            self.rfile.read(1)
            self.connection.close()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.num_seen = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_error_that_is_not_ours_keeps_its_status():
    with answering(500, b"<html>") as (server, url), Client(url) as client:
        with pytest.raises(RefusedError, match="HTTP 500 Internal Server Error") as error:
            client.models()
        assert (error.value.status, error.value.code, error.value.retry_after_s) == (500, "", None)
        assert server.num_seen == 1


def test_an_unavailable_service_is_asked_again():
    with answering(503, b"") as (server, url), Client(url, away_s=0.3) as client:
        with pytest.raises(RefusedError, match="503"):
            client.models()
        assert server.num_seen > 2


@pytest.mark.parametrize("body", [b"hello", b"{}", b'{"models": 3}'])
def test_an_answer_of_another_kind_is_not_our_service(body):
    with (
        answering(200, body) as (_, url),
        Client(url) as client,
        pytest.raises(NoServiceError, match="lia serve"),
    ):
        client.models()


def test_a_newer_service_may_say_more():
    body = b'{"models": [{"name": "lia", "version": "1", "colour": "red"}], "more": 1}'
    with answering(200, body) as (_, url), Client(url) as client:
        assert client.models().models[0].version == "1"


def test_an_upload_is_animated_once_though_its_first_answer_is_lost(tmp_path, monkeypatch):
    with live(tmp_path) as service, client_of(service) as client:
        post, answers = client._http.post, []

        def lose_the_first_answer(*args, **kwargs):
            answers.append(post(*args, **kwargs))
            if len(answers) == 1:
                raise httpx.ReadError("the connection is lost")
            return answers[-1]

        monkeypatch.setattr(client._http, "post", lose_the_first_answer)
        job = client.submit(*files_of(service))
        assert len(answers) == 2
        assert [one.id for one in service.jobs.newest(5)] == [job.id]
        assert client.submit(*files_of(service)).id != job.id


def test_a_proxy_is_not_used_for_loopback(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200, b'{"models": []}') as (_, url), Client(url) as client:
        assert client.models().models == []


def test_jobs_carry_the_id_of_the_work_that_they_are_part_of(tmp_path, caplog):
    with live(tmp_path) as service, client_of(service, correlation_id="work-7") as client:
        portrait, clip = files_of(service)
        upload = client.submit(portrait, clip, WITHOUT_CROP)
        item = BatchItem(source=str(portrait), driving=str(clip), crop=False)
        batch = client.submit_batch(BatchRequest(items=[item], output="out"))
        with client_of(service) as other:
            assert client.status(other.submit(portrait, clip, WITHOUT_CROP).id).correlation_id is None
        with caplog.at_level("INFO"), service.running():
            assert client.wait(upload.id).correlation_id == "work-7"
        (of_batch,) = client.batch_status(batch.id).items
    assert of_batch.correlation_id == "work-7"
    assert f"job {upload.id} starts (correlation id work-7)" in caplog.messages


def test_an_id_of_work_has_letters_that_need_no_quoting(tmp_path):
    with live(tmp_path) as service, client_of(service, correlation_id="a\tb") as client:
        with pytest.raises(RefusedError) as refused:
            client.submit(*files_of(service), WITHOUT_CROP)
        assert "X-Correlation-ID" in str(refused.value) or "x-correlation-id" in str(refused.value)
