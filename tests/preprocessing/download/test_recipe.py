"""Files are downloaded again when the settings that chose them change."""

import json

import pytest

from preprocessing.download.recipe import LOCAL, access_recipe, file_recipe
from preprocessing.download.run import download_sources
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.fault_server import FaultServer

URL = "http://a.org/v.mp4"
OTHER_FORMAT = {"format": "b/bv*"}


@pytest.fixture
def host(video):
    server = FaultServer("127.0.0.1")
    server.files = {f"/{name}.mp4": ("video/mp4", video) for name in ("v", "w")}
    yield server
    server.close()


@pytest.fixture
def run(tmp_path, host, download_settings, make_source):
    """Function that downloads both videos with these settings changed; returns statuses, requests, log."""

    def download(**changes):
        before, logged = len(host.requests), []
        sources = [make_source(f"{host.url}/{name}.mp4") for name in ("v", "w")]
        settings = download_settings.model_copy(update=changes)
        found = download_sources(
            sources, settings, tmp_path / "raw", lambda words, *values: logged.append(words % values)
        )
        return {one.status for one in found.values()}, host.requests[before:], logged

    return download


def test_only_settings_that_choose_the_file_change_its_recipe(download_settings):
    before = file_recipe(URL, download_settings)
    for changes in (OTHER_FORMAT, {"format_sort": ("res:720",)}):
        assert file_recipe(URL, download_settings.model_copy(update=changes)) != before
    for changes in ({"timeout_s": 1.0}, {"num_retries": 9}, {"max_bytes": 7}, {"retry_permanent_days": 1}):
        assert file_recipe(URL, download_settings.model_copy(update=changes)) == before
    assert file_recipe("file:///v.mp4", download_settings) == LOCAL
    assert access_recipe(download_settings.model_copy(update={"max_bytes": 7})) != access_recipe(
        download_settings
    )


def test_another_format_downloads_every_file_again_and_says_so_once(run):
    assert run()[0] == {DownloadStatus.VERIFIED}
    statuses, requests, logged = run(**OTHER_FORMAT)
    assert statuses == {DownloadStatus.VERIFIED}
    assert {"/v.mp4", "/w.mp4"} <= set(requests)
    assert [line for line in logged if line.startswith("2 files were downloaded with another")]
    assert run(**OTHER_FORMAT)[1] == []


def test_records_without_a_recipe_are_taken_as_current_once(tmp_path, run):
    run()
    for record in (tmp_path / "raw").glob("*.json"):
        facts = json.loads(record.read_text())
        del facts["recipe"]
        record.write_text(json.dumps(facts))
    statuses, requests, logged = run()
    assert (statuses, requests) == ({DownloadStatus.VERIFIED}, [])
    assert sum("2 files have no record of the settings" in line for line in logged) == 1
    assert not any("no record of the settings" in line for line in run()[2])
    assert run(**OTHER_FORMAT)[1] != []


def test_a_file_stays_until_its_replacement_is_there(tmp_path, host, run):
    run()
    held = {path.name: path.read_bytes() for path in (tmp_path / "raw").glob("*.mp4")}
    host.files = {}
    assert run(**OTHER_FORMAT)[0] == {DownloadStatus.PERMANENT}
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").glob("*.mp4")} == held
    assert run()[:2] == ({DownloadStatus.VERIFIED}, [])


def test_parts_of_another_recipe_are_not_continued(tmp_path, host, make_source, run):
    key = make_source(f"{host.url}/v.mp4").key
    folder = tmp_path / "raw.receiving" / key
    folder.mkdir(parents=True)
    (folder / "video.mp4").write_bytes(b"the file of another format")
    (folder / "recipe").write_text("another")
    assert run()[0] == {DownloadStatus.VERIFIED}
    assert "/v.mp4" in host.requests
