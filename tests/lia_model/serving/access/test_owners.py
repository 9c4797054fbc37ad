"""One owner's jobs do not exist for another, over real HTTP."""

import pytest

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from tests.lia_model.serving.live import live
from tests.lia_model.serving.service import assert_refused, png


@pytest.fixture
def service(tmp_path):
    with live(tmp_path, token_file=TokenFile(tmp_path / "tokens.json")) as service:
        yield service


@pytest.fixture
def headers(service, tmp_path):
    """Headers of callers by name and scope."""
    file = TokenFile(tmp_path / "tokens.json")
    callers = [("alice", Scope.SUBMIT), ("alice", Scope.READ), ("bob", Scope.SUBMIT), ("carol", Scope.ADMIN)]
    return {
        f"{name} {scope}": {"Authorization": f"Bearer {file.create(scope, name).secret}"}
        for name, scope in callers
    }


def submit(service, headers):
    files = {"source": png(), "driving": service.clip()}
    answer = service.client.post("/v1/animations", files=files, data={"crop": "false"}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def submit_batch(service, headers):
    (service.root / "alice").mkdir(exist_ok=True)
    (service.root / "alice" / "a.png").write_bytes(png())
    (service.root / "alice" / "b.mp4").write_bytes(service.clip())
    body = {"items": [{"source": "alice/a.png", "driving": "alice/b.mp4"}], "output": "alice/out"}
    answer = service.client.post("/v1/batches", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["links"]["self"]


def test_the_jobs_of_another_are_not_found(service, headers):
    job, batch = submit(service, headers["alice submit"]), submit_batch(service, headers["alice submit"])
    links = job["links"]
    calls = [("GET", links["self"]), ("GET", links["video"]), ("DELETE", links["self"]), ("GET", batch)]
    for method, path in calls:
        refused = service.client.request(method, path, headers=headers["bob submit"])
        assert_refused(refused, 404, "not_found")
        # Nothing tells it from a job that never was.
        known, unknown = path.split("/")[3], "0" * 32
        other = service.client.request(method, path.replace(known, unknown), headers=headers["bob submit"])
        assert (other.status_code, other.text) == (404, refused.text.replace(known, unknown))
    for caller in ("alice submit", "alice read", "carol admin"):
        for path in (links["self"], batch):
            assert service.client.get(path, headers=headers[caller]).status_code == 200


def test_a_batch_neither_reads_nor_writes_results_of_another(service, headers):
    submit_batch(service, headers["alice submit"])
    item = {"source": "alice/a.png", "driving": "alice/b.mp4"}
    for body in ({"items": [item], "output": "bob"}, {"items": [item], "output": "alice/out"}):
        refused = service.client.post("/v1/batches", json=body, headers=headers["bob submit"])
        assert_refused(refused, 422, "bad_field", "not in the caller's own folder", "the folder bob")
        accepted = service.client.post("/v1/batches", json=body, headers=headers["carol admin"])
        assert accepted.status_code == 202


def test_a_list_has_ones_own_jobs_alone(service, headers):
    of_alice = [submit(service, headers["alice submit"])["id"] for _ in range(3)]
    of_bob = submit(service, headers["bob submit"])["id"]

    def listed(caller, query="limit=2"):
        ids, url = [], f"/v1/animations?{query}"
        while url is not None:
            page = service.client.get(url, headers=headers[caller]).json()
            ids += [one["id"] for one in page["animations"]]
            url = page["next"]
        return ids

    assert listed("alice submit") == listed("alice read") == of_alice[::-1]
    assert listed("bob submit") == [of_bob]
    assert listed("carol admin") == [of_bob, *of_alice[::-1]]
    assert listed("bob submit", "status=succeeded") == []


def test_an_admin_deletes_what_others_submitted(service, headers):
    links = submit(service, headers["alice submit"])["links"]
    assert service.client.delete(links["self"], headers=headers["carol admin"]).status_code == 204
    cancelled = service.client.get(links["self"], headers=headers["alice read"]).json()
    assert cancelled["status"] == "cancelled"


def test_a_key_of_one_owner_finds_no_job_of_another(service, headers):
    key = {"Idempotency-Key": "the same"}
    first, second = (submit(service, headers[f"{name} submit"] | key)["id"] for name in ("alice", "bob"))
    assert first != second
    assert submit(service, headers["alice submit"] | key)["id"] == first
