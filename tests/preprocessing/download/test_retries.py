import json
import random
import subprocess
import sys
import time

import pytest
from pydantic import TypeAdapter

from preprocessing.download.records.raw_folder import receiving_folder, receiving_root
from preprocessing.download.run import download_sources
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source
from tests.preprocessing.conftest import download_alone
from tests.preprocessing.download.conftest import CASES, write_slow_video
from tests.preprocessing.fault_server import FaultServer, answer, answer_first, in_seconds, send


@pytest.mark.parametrize(("path", "status", "words"), [(path, *ends) for path, ends in CASES.items()])
def test_every_source_ends_in_its_own_state(batch, server, path, status, words):
    _, downloads, _ = batch
    download = downloads[f"{server.url}{path}"]
    assert download.status == status, download.error
    assert words in (download.error or "")
    assert (download.error is None) == (status == DownloadStatus.VERIFIED)


@pytest.mark.parametrize(("path", "num_requests"), [("/none.mp4", 1), ("/gone.mp4", 1), ("/soon.mp4", 3)])
def test_only_temporary_failures_are_retried(batch, server, path, num_requests):
    assert server.requests.count(path) == num_requests


def test_an_unreachable_host_is_retryable(batch):
    _, downloads, _ = batch
    assert downloads["http://127.0.0.1:1/unreachable.mp4"].status == DownloadStatus.RETRYABLE


def test_every_source_is_logged_once_in_one_line(batch):
    _, downloads, logged = batch
    assert len(logged) == len(downloads)
    assert {words[0][:5] for words in logged} == {"%d/%d"}
    assert not any("\n" in (download.error or "") for download in downloads.values())


def test_a_verified_file_is_not_downloaded_again(batch, server, download_settings, make_source):
    raw, downloads, _ = batch
    url = f"{server.url}/a/v.mp4"
    before = len(server.requests)
    assert download_alone(make_source(url), download_settings, raw).download == downloads[url]
    assert len(server.requests) == before


@pytest.mark.parametrize("name", ["slow", "silent"])
def test_the_time_limit_holds_and_leaves_no_partial_file(
    tmp_path, server, download_settings, make_source, name
):
    settings = download_settings.model_copy(update={"timeout_s": 4.0})
    source = make_source(f"{server.url}/{name}.mp4")
    download = download_alone(source, settings, tmp_path / "raw").download
    assert (download.status, "longer than 4 s" in download.error) == (DownloadStatus.RETRYABLE, True)
    assert f"/{name}.mp4" in server.requests
    assert not (tmp_path / "raw").exists()


@pytest.fixture(scope="module")
def slow_to_decode(tmp_path_factory):
    """A server with a video that takes longer to decode than to send."""
    server = FaultServer("127.0.0.1")
    video = write_slow_video(tmp_path_factory.mktemp("slow") / "v.mov", 240)
    server.files = {"/v.mov": ("video/quicktime", video)}
    yield server
    server.close()


@pytest.mark.parametrize("is_local", [False, True])
def test_a_long_video_is_not_refused_for_the_time_its_verification_takes(
    tmp_path, slow_to_decode, download_settings, make_source, is_local
):
    (tmp_path / "v.mov").write_bytes(slow_to_decode.files["/v.mov"][1])
    url = (tmp_path / "v.mov").as_uri() if is_local else f"{slow_to_decode.url}/v.mov"
    changes = {"timeout_s": 7.0, "min_decode_fps": 1.0, "local_root": tmp_path}
    began = time.monotonic()
    settings = download_settings.model_copy(update=changes)
    download = download_alone(make_source(url), settings, tmp_path / "raw").download
    assert time.monotonic() - began > 7.0
    assert download.status == DownloadStatus.VERIFIED, download.error


def test_verification_has_a_limit_too_and_keeps_what_was_received(
    tmp_path, slow_to_decode, download_settings, make_source
):
    settings = download_settings.model_copy(update={"timeout_s": 5.0, "min_decode_fps": 1e6})
    source = make_source(f"{slow_to_decode.url}/v.mov")
    download = download_alone(source, settings, tmp_path / "raw").download
    assert download.status == DownloadStatus.RETRYABLE
    assert "verification took longer than 5" in download.error
    assert "lower download.min_decode_fps" in download.error
    assert (receiving_folder(tmp_path / "raw", source.key) / "video.mov").is_file()


def test_the_memory_limit_holds(tmp_path, server, download_settings, make_source):
    settings = download_settings.model_copy(update={"max_memory_bytes": 10_000_000})
    download = download_alone(make_source(f"{server.url}/a/v.mp4"), settings, tmp_path / "raw").download
    assert download.status == DownloadStatus.PERMANENT
    assert "more than 10000000 bytes of memory" in download.error


def test_a_rate_limited_host_is_backed_off(tmp_path, video, download_settings, make_source):
    server = FaultServer("127.0.0.3")
    server.faults["/busy.mp4"] = answer_first(429, in_seconds)
    server.files = {f"/{name}.mp4": ("video/mp4", video) for name in ("busy", "next")}
    changes = {"num_parallel": 1, "allow_private_hosts": ("127.0.0.3",), "max_host_pauses": 1}
    settings = download_settings.model_copy(update=changes)
    sources = [make_source(f"{server.url}/{name}.mp4") for name in ("busy", "next")]
    downloads = download_sources(sources, settings, tmp_path / "raw", lambda *_: None)
    server.close()
    assert {download.status for download in downloads.values()} == {DownloadStatus.VERIFIED}
    assert [path for path in server.requests if path == "/busy.mp4"] == [
        "/busy.mp4"
    ] * 3  # the last one twice


def test_a_host_that_stays_rate_limited_is_given_up_on(tmp_path, download_settings, make_source):
    server = FaultServer("127.0.0.3")
    server.faults["/busy.mp4"] = answer(429, {"Retry-After": "0"})
    changes = {"num_parallel": 1, "allow_private_hosts": ("127.0.0.3",), "max_host_pauses": 1}
    settings = download_settings.model_copy(update=changes)
    sources = [make_source(f"{server.url}/{name}.mp4") for name in ("busy", "next", "last")]
    downloads = download_sources(sources, settings, tmp_path / "raw", lambda *_: None)
    server.close()
    assert {download.status for download in downloads.values()} == {DownloadStatus.STOP_THE_QUEUE}
    assert server.requests == ["/busy.mp4"] * 2


class TimedServer(FaultServer):
    """A host that notes when it was requested, and always answers 503."""

    def __init__(self, host):
        super().__init__(host)
        self.times = []

    def respond(self, handler):
        self.times.append(time.time())
        send(handler, 503, {})


@pytest.fixture
def down_host():
    server = TimedServer("127.0.0.4")
    yield server
    server.close()


@pytest.mark.parametrize("max_hold_s", [30.0, 0.0])
def test_every_retry_counts_in_the_quota_and_a_long_wait_holds_no_thread(
    tmp_path, server, down_host, download_settings, make_source, monkeypatch, max_hold_s
):
    hour_s, quota = 6.0, 2
    monkeypatch.setattr("preprocessing.download.limits.host_limits.HOUR_S", hour_s)
    monkeypatch.setattr("preprocessing.download.limits.turns.MAX_HOLD_S", max_hold_s)
    changes = {
        "num_retries": 3, "retry_delay_s": 0.1, "num_parallel": 1, "max_per_hour": {"127.0.0.4": quota},
        "allow_private_hosts": ("127.0.0.1", "127.0.0.4"),
    }  # fmt: skip
    settings = download_settings.model_copy(update=changes)
    urls = [f"{down_host.url}/v.mp4", f"{server.url}/a/v.mp4"]
    logged = []
    downloads = download_sources(
        [make_source(url) for url in urls], settings, tmp_path / "raw", lambda *words: logged.append(words)
    )
    assert [downloads[make_source(url).key].status for url in urls] == ["retryable", "verified"]
    assert [words[4] for words in logged if words[0].startswith("%d")] == (urls if max_hold_s else urls[::-1])
    times = down_host.times
    assert len(times) == 4
    # An attempt begins in a child process, whose start takes a different time each time.
    assert min(later - earlier for earlier, later in zip(times, times[quota:], strict=False)) > hour_s - 2


def test_retries_are_kept_with_the_requests_of_the_last_hour(
    tmp_path, down_host, download_settings, make_source
):
    changes = {
        "num_retries": 2, "retry_delay_s": 0.1, "max_per_hour": {"127.0.0.4": 9},
        "allow_private_hosts": ("127.0.0.4",),
    }  # fmt: skip
    settings = download_settings.model_copy(update=changes)
    raw = tmp_path / "raw"
    download_sources([make_source(f"{down_host.url}/v.mp4")], settings, raw, lambda *_: None)
    assert len(down_host.times) == 3
    assert len(json.loads((receiving_root(raw) / "hosts.json").read_text())["127.0.0.4"]) == 3


def test_a_retry_asks_no_host_that_was_given_up_on_and_the_failure_stays(
    tmp_path, download_settings, make_source
):
    server = FaultServer("127.0.0.4")
    server.faults = {"/busy.mp4": answer(429, {"Retry-After": "7200"}), "/down.mp4": answer(503)}
    changes = {
        "num_retries": 1, "retry_delay_s": 5.0, "num_parallel": 2, "allow_private_hosts": ("127.0.0.4",),
    }  # fmt: skip
    settings = download_settings.model_copy(update=changes)
    sources = [make_source(f"{server.url}/{name}.mp4") for name in ("down", "busy")]
    found = download_sources(sources, settings, tmp_path / "raw", lambda *_: None)
    server.close()
    assert sorted(server.requests) == ["/busy.mp4", "/down.mp4"]
    down, busy = (found[source.key] for source in sources)
    assert (down.status, busy.status) == (DownloadStatus.RETRYABLE, DownloadStatus.STOP_THE_QUEUE)
    assert "503" in down.error


def test_an_error_of_our_own_ends_the_run_instead_of_hanging_it(tmp_path, download_settings, make_source):
    changes = {"max_per_hour": {"127.0.0.1": 9}, "num_parallel": 2}
    settings = download_settings.model_copy(update=changes)
    receiving = receiving_root(tmp_path / "raw")
    # A folder where the file of request times belongs.
    (receiving / "hosts.json").mkdir(parents=True)
    sources = [make_source(f"http://127.0.0.1:1/{number}.mp4") for number in range(4)]
    with pytest.raises(IsADirectoryError):
        download_sources(sources, settings, tmp_path / "raw", lambda *_: None)


DOWNLOAD_ALL = """
import pathlib, sys
from pydantic import TypeAdapter
from preprocessing.download.run import download_sources
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
folder = pathlib.Path(sys.argv[1])
settings = DownloadSettings.model_validate_json((folder / "settings.json").read_text())
sources = TypeAdapter(list[Source]).validate_json((folder / "sources.json").read_text())
download_sources(sources, settings, pathlib.Path(sys.argv[2]), print)
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_a_rerun_ends_as_if_undisturbed(
    batch, tmp_path, server, download_settings, make_source, seed
):
    raw, downloads, _ = batch
    paths = ("/a/v.mp4", "/b/v.mp4", "/uneven.mp4", "/rotated.mp4")
    sources = [make_source(f"{server.url}{path}") for path in paths]
    (tmp_path / "settings.json").write_text(download_settings.model_dump_json())
    (tmp_path / "sources.json").write_bytes(TypeAdapter(list[Source]).dump_json(sources))
    command = [sys.executable, "-c", DOWNLOAD_ALL, str(tmp_path), str(tmp_path / "raw")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # An undisturbed run takes about four seconds, two of them to start.
    time.sleep(random.Random(seed).uniform(1.5, 4.0))
    process.kill()
    process.wait()
    for path in (tmp_path / "raw").glob("*.mp4"):
        assert path.read_bytes() == (raw / path.name).read_bytes()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wanted = {name: (raw / name).read_bytes() for source in sources for name in files_of(downloads, source)}
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == wanted
    assert [path for path in receiving_root(tmp_path / "raw").iterdir() if path.is_dir()] == []


def files_of(downloads, source):
    return downloads[source.url].file, f"{source.key}.json"


def test_a_full_disk_is_reported_and_leaves_no_partial_file(
    tmp_path, server, download_settings, make_source, run_on_small_disk
):
    """With a local file, since the namespace of the small disk has no network."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films/v.mp4").write_bytes(server.files["/large.mp4"][1])
    settings = download_settings.model_copy(update={"local_root": tmp_path / "films"})
    source = make_source((tmp_path / "films/v.mp4").as_uri())
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    (tmp_path / "sources.json").write_bytes(TypeAdapter(list[Source]).dump_json([source]))
    program = f"{DOWNLOAD_ALL}\nprint([str(path) for path in pathlib.Path(sys.argv[2]).rglob('*')])\n"
    small = tmp_path / "small"
    *logged, left = run_on_small_disk(program, small, "40k", tmp_path, small / "raw")
    assert len(logged) == 1
    assert "environment" in logged[0]
    assert "No space left" in logged[0]
    assert left == "[]"
