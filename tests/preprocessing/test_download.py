"""One small server on 127.0.0.1, which is allowed, and one on 127.0.0.2, which stands for a private host."""

import errno
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, PostProcessingError

from preprocessing.download import classify, download_source, download_sources, read_verified, remove_stale
from preprocessing.outcome import DownloadStatus
from preprocessing.video import probe


class Server:
    """Serves `files` by path, counts requests, and plays dead, slow or rude where asked to."""

    def __init__(self, host):
        self.files = {}
        self.requests = []
        self.redirects = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                outer.requests.append(self.path)
                outer.respond(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{host}:{self.server.server_port}"

    def respond(self, handler):
        path = handler.path
        if path == "/slow.mp4":
            threading.Event().wait(20)
        if path in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[path])
            handler.end_headers()
            return
        codes = {"/busy.mp4": 429}
        if path not in self.files:
            handler.send_error(codes.get(path, 404))
            return
        kind, content = self.files[path]
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", range(20, 220, 4)).read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory, make_video, make_sound, video):
    folder = tmp_path_factory.mktemp("served")
    server = Server("127.0.0.1")
    sound = make_sound(folder / "sound.mp4").read_bytes()
    # What is cut off is missing, what is there decodes, and the header claims all of it.
    long = make_video(folder / "long.mkv", [50, 100] * 100, fps=25).read_bytes()
    server.files = {
        "/a/v.mp4": ("video/mp4", video),
        "/b/v.mp4": ("video/mp4", video + b"\0\0\0\x08free"),
        "/page.mp4": ("text/html", b"<html><body>No video here.</body></html>"),
        "/liar.mp4": ("video/mp4", b"<html><body>No video here.</body></html>" * 100),
        "/sound.mp4": ("video/mp4", sound),
        "/empty.mp4": ("video/mp4", b""),
        "/cut.mkv": ("video/x-matroska", long[: len(long) // 3]),
        "/large.mp4": ("video/mp4", video + bytes(300_000)),
    }
    yield server
    server.close()


@pytest.fixture(scope="module")
def private_host():
    server = Server("127.0.0.2")
    yield server
    server.close()


CASES = {
    "/a/v.mp4": DownloadStatus.VERIFIED,
    "/b/v.mp4": DownloadStatus.VERIFIED,
    "/gone.mp4": DownloadStatus.PERMANENT,
    "/page.mp4": DownloadStatus.PERMANENT,
    "/liar.mp4": DownloadStatus.PERMANENT,
    "/sound.mp4": DownloadStatus.PERMANENT,
    "/empty.mp4": DownloadStatus.RETRYABLE,
    "/large.mp4": DownloadStatus.PERMANENT,
    "/cut.mkv": DownloadStatus.RETRYABLE,
    "/to_private.mp4": DownloadStatus.PERMANENT,
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory, server, private_host, download_settings, make_source, video):
    """Good and bad sources in one run."""
    server.redirects["/to_private.mp4"] = f"{private_host.url}/v.mp4"
    urls = [f"{server.url}{path}" for path in CASES]
    urls += ["http://127.0.0.1:1/unreachable.mp4", f"{private_host.url}/v.mp4"]
    raw = tmp_path_factory.mktemp("raw")
    settings = download_settings.model_copy(update={"max_bytes": len(video) + 100_000})
    sources = [make_source(url) for url in urls]
    said = []
    downloads = download_sources(sources, settings, raw, lambda *words: said.append(words))
    return raw, {source.url: downloads[source.key] for source in sources}, said


@pytest.mark.parametrize(("path", "status"), CASES.items())
def test_every_source_ends_in_its_own_state(batch, server, path, status):
    _, downloads, _ = batch
    download = downloads[f"{server.url}{path}"]
    assert download.status == status, download.error
    assert (download.error is None) == (status == DownloadStatus.VERIFIED)


def test_an_unreachable_host_may_be_tried_again(batch):
    _, downloads, _ = batch
    assert downloads["http://127.0.0.1:1/unreachable.mp4"].status == DownloadStatus.RETRYABLE


def test_a_private_host_is_never_contacted_not_even_by_redirect(batch, server, private_host):
    _, downloads, _ = batch
    for url in (f"{private_host.url}/v.mp4", f"{server.url}/to_private.mp4"):
        assert downloads[url].status == DownloadStatus.PERMANENT
        assert "127.0.0.2" in downloads[url].error
        assert "allow_private_hosts" in downloads[url].error
    assert private_host.requests == []


def test_every_source_is_told_once_in_one_line(batch):
    _, downloads, said = batch
    assert len(said) == len(downloads)
    assert not any("\n" in (download.error or "") for download in downloads.values())


def test_equal_basenames_are_two_files_with_their_facts(batch, server, video):
    raw, downloads, _ = batch
    first, second = (downloads[f"{server.url}/{folder}/v.mp4"] for folder in "ab")
    assert first.file != second.file
    assert (raw / first.file).read_bytes() == video
    assert (first.size_bytes, second.size_bytes) == (len(video), len(video) + 8)
    assert (first.vcodec, first.acodec, first.width_px, first.fps) == ("h264", None, 64, 25.0)
    assert first.duration_s == pytest.approx(2.0)
    assert first.downloader.startswith("yt-dlp 20")
    assert probe(raw / first.file).num_frames == 50


def test_only_verified_files_and_their_records_are_left(batch):
    raw, downloads, _ = batch
    good = [download.file for download in downloads.values() if download.status == DownloadStatus.VERIFIED]
    names = {path.name for path in raw.iterdir() if path.is_file()}
    assert names == {*good, *(f"{name.split('.')[0]}.json" for name in good)}


def test_a_verified_file_is_never_fetched_again(batch, server, download_settings, make_source):
    raw, downloads, _ = batch
    url = f"{server.url}/a/v.mp4"
    before = len(server.requests)
    assert download_source(make_source(url), download_settings, raw) == downloads[url]
    assert len(server.requests) == before


def test_a_changed_file_is_fetched_again(batch, tmp_path, server, download_settings, make_source):
    raw, downloads, _ = batch
    source = make_source(f"{server.url}/a/v.mp4")
    download = downloads[source.url]
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    content = (copy / download.file).read_bytes()
    (copy / download.file).write_bytes(content[:-1] + b"x")
    assert read_verified(copy, source.key) is None
    assert download_source(source, download_settings, copy) == download
    assert (copy / download.file).read_bytes() == content


def test_files_of_sources_listed_no_longer_go(batch, tmp_path, server, make_source):
    raw, downloads, _ = batch
    source, other = (make_source(f"{server.url}/{folder}/v.mp4") for folder in "ab")
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    assert remove_stale(copy, {source.key}) == [f"{other.key}.json", f"{other.key}.mp4"]
    assert read_verified(copy, source.key) == downloads[source.url]


def test_time_limit_is_kept_and_tried_again(tmp_path, server, download_settings, make_source):
    settings = download_settings.model_copy(update={"timeout_s": 1.5, "num_retries": 1, "retry_delay_s": 0.1})
    download = download_source(make_source(f"{server.url}/slow.mp4"), settings, tmp_path)
    assert download.status == DownloadStatus.RETRYABLE
    assert "longer than 1.5 s" in download.error


def test_a_host_that_asks_for_a_pause_is_asked_nothing_more(tmp_path, server, download_settings, make_source):
    settings = download_settings.model_copy(update={"num_parallel": 1})
    sources = [make_source(f"{server.url}/{name}.mp4") for name in ("busy", "next", "last")]
    before = len(server.requests)
    downloads = download_sources(sources, settings, tmp_path, lambda *_: None)
    assert {download.status for download in downloads.values()} == {DownloadStatus.STOP_THE_QUEUE}
    assert set(server.requests[before:]) == {"/busy.mp4"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "full"), DownloadStatus.ENVIRONMENT),
        (PostProcessingError("ffmpeg not found"), DownloadStatus.ENVIRONMENT),
        (TransportError("reset"), DownloadStatus.RETRYABLE),
        (ExtractorError("private video", expected=True), DownloadStatus.PERMANENT),
        (ExtractorError("the site has changed"), DownloadStatus.RETRYABLE),
    ],
)
def test_an_error_is_judged_by_its_cause_however_it_is_wrapped(error, status):
    assert classify(error) == status
    assert classify(DownloadError("x", (type(error), error, None))) == status


def test_a_file_of_this_machine_is_copied_from_below_the_root_alone(
    tmp_path, make_video, make_sound, make_source, download_settings
):
    root = tmp_path / "films"
    (root / "below").mkdir(parents=True)
    good = make_video(root / "below" / "a b.mp4", [90] * 8)
    outside = make_video(tmp_path / "outside.mp4", [90] * 8)
    (root / "link.mp4").symlink_to(outside)
    make_sound(root / "sound.m4a")
    (root / "empty.mp4").touch()
    allowed = download_settings.model_copy(update={"local_root": root})

    def fetch(path, settings=allowed):
        return download_source(make_source(path.as_uri()), settings, tmp_path / "raw")

    found = fetch(good)
    assert (found.status, found.downloader, found.width_px) == ("verified", "copied", 64)
    copy = tmp_path / "raw" / found.file
    assert copy.read_bytes() == good.read_bytes()
    assert not copy.samefile(good)
    for path in (outside, root / "link.mp4", root / ".." / "outside.mp4"):
        refused = fetch(path)
        assert (refused.status, "download.local_root" in refused.error) == ("permanent", True)
    assert "not set" in fetch(outside, download_settings).error
    for path in (root / "none.mp4", root / "below", root / "sound.m4a", root / "empty.mp4"):
        assert fetch(path).status == "permanent", path
    small = allowed.model_copy(update={"max_bytes": 10})
    (tmp_path / "raw" / found.file).unlink()
    assert "raise download.max_bytes" in fetch(good, small).error
