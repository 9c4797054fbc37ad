import time

from prometheus_client.parser import text_string_to_metric_families

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from tests.lia_model.serving.live import NUM_FRAMES, live
from tests.lia_model.serving.service import assert_refused


def read(client, **headers):
    """Return the figures by name and labels."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(tmp_path):
    with live(tmp_path) as service:
        link = service.submit()
        for _ in range(3):
            service.client.get(link)
        service.client.head(link)
        service.client.get("/v1/animations/unknown")
        service.client.get("/nowhere")
        service.client.get("/v1/models", headers={"Host": "evil.example"})
        service.client.request("PROPFIND", "/v1/models")
        found = read(service.client)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "lia_http_requests_total"}
    job = "/v1/animations/{job_id}"
    assert requests[("POST", "/v1/animations", "202")] == 1
    assert requests[("GET", job, "200")] == 3
    assert requests[("HEAD", job, "200")] == 1
    assert requests[("GET", job, "404")] == 1
    assert requests[("GET", "none", "404")] == 1
    assert requests[("GET", "none", "403")] == 1
    assert requests[("other", "/v1/models", "405")] == 1
    assert found[("lia_http_request_duration_seconds_count", "GET", job)] == 4
    assert found[("lia_http_request_duration_seconds_sum", "POST", "/v1/animations")] > 0


def test_jobs_their_age_and_frames_are_told(tmp_path):
    with live(tmp_path) as service:
        assert read(service.client)[("lia_queue_oldest_age_seconds",)] == 0
        first = service.submit()
        time.sleep(0.2)
        service.client.delete(service.submit())
        found = read(service.client)
        states = ("queued", "running", "succeeded", "failed", "cancelled")
        assert [found[("lia_jobs", state)] for state in states] == [1, 0, 0, 0, 1]
        assert 0.2 <= found[("lia_queue_oldest_age_seconds",)] < 60
        with service.running():
            service.ended(first)
        found = read(service.client)
        assert found[("lia_jobs", "succeeded")] == 1
        assert found[("lia_job_frames",)] == NUM_FRAMES
        assert found[("lia_queue_oldest_age_seconds",)] == 0


def test_a_dead_worker_is_told(tmp_path):
    with live(tmp_path) as service:
        assert read(service.client)[("lia_worker_alive",)] == 1
        service.workers.path.unlink()
        assert read(service.client)[("lia_worker_alive",)] == 0


def test_the_figures_need_a_token_that_may_read(tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.create(Scope.READ).secret
    with live(tmp_path, token_file=file) as service:
        assert_refused(service.client.get("/metrics"), 401, "unauthorized")
        assert ("lia_worker_alive",) in read(service.client, Authorization=f"Bearer {token}")
