"""What failed for good is settled for some days; requests are counted at the server."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from preprocessing.download.records.refusals import NUM_FORBIDDEN_RUNS
from preprocessing.download.run import download_sources
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.fault_server import FaultServer, answer


@pytest.fixture
def host(video):
    server = FaultServer("127.0.0.1")
    server.files = {"/good.mp4": ("video/mp4", video)}
    server.faults = {"/secret.mp4": answer(403), "/gone.mp4": answer(410)}
    yield server
    server.close()


@pytest.fixture
def run(tmp_path, host, download_settings, make_source):
    """Function that downloads these videos and returns their statuses and the requests made for them."""

    def download(*names, **changes):
        before = len(host.requests)
        sources = [make_source(f"{host.url}/{name}.mp4") for name in names]
        settings = download_settings.model_copy(update=changes)
        found = download_sources(sources, settings, tmp_path / "raw", lambda *_: None)
        return [found[source.key].status.value for source in sources], host.requests[before:]

    return download


def age(raw, days):
    for path in raw.glob("*.refused.json"):
        record = json.loads(path.read_text())
        assert record["asked_on"] == datetime.now(UTC).date().isoformat()
        record["asked_on"] = (datetime.now(UTC).date() - timedelta(days=days)).isoformat()
        path.write_text(json.dumps(record))


def test_a_second_run_requests_nothing_that_is_settled(run):
    names = ("good", "none", "gone")
    statuses, requests = run(*names)
    assert statuses == ["verified", "permanent", "permanent"]
    assert {"/good.mp4", "/none.mp4", "/gone.mp4"} == set(requests)
    assert run(*names) == (statuses, [])


def test_a_permanent_failure_is_requested_again_after_the_days_of_the_setting(tmp_path, run):
    run("gone")
    age(tmp_path / "raw", 29)
    assert run("gone", retry_permanent_days=30) == (["permanent"], [])
    assert run("gone", retry_permanent_days=29)[1] != []
    age(tmp_path / "raw", 0)
    assert run("gone", retry_permanent_days=0)[1] != []


def test_a_source_that_is_back_is_verified_and_its_failure_forgotten(tmp_path, host, run):
    run("none")
    host.files["/none.mp4"] = host.files["/good.mp4"]
    assert run("none", retry_permanent_days=0)[0] == ["verified"]
    assert list((tmp_path / "raw").glob("*.refused.json")) == []


def test_a_setting_that_may_help_requests_a_permanent_failure_at_once(run):
    assert run("good", max_bytes=10)[0] == ["permanent"]
    assert run("good", max_bytes=10) == (["permanent"], [])
    assert run("good")[0] == ["verified"]


def test_a_403_becomes_permanent_after_several_runs_in_a_row(host, run):
    for _ in range(NUM_FORBIDDEN_RUNS - 1):
        statuses, requests = run("secret", num_retries=1, retry_delay_s=0.01)
        assert statuses == ["retryable"]
        assert len(requests) == 2
    assert run("secret")[0] == ["permanent"]
    assert run("secret") == (["permanent"], [])


def test_another_failure_in_between_starts_the_count_of_403_again(host, run):
    for code in (403, 403, 503, 403, 403):
        host.faults["/secret.mp4"] = answer(code)
        assert run("secret")[0] == ["retryable"]
    host.faults["/secret.mp4"] = answer(403)
    assert run("secret")[0] == ["permanent"]


def test_local_files_are_looked_at_in_every_run(tmp_path, make_source, download_settings, video):
    source = make_source((tmp_path / "v.mp4").as_uri())
    settings = download_settings.model_copy(update={"local_root": tmp_path})

    def run():
        return download_sources([source], settings, tmp_path / "raw", lambda *_: None)[source.key].status

    assert run() == DownloadStatus.PERMANENT
    (tmp_path / "v.mp4").write_bytes(video)
    assert run() == DownloadStatus.VERIFIED
