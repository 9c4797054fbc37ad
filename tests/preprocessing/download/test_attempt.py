"""Good and bad sources from a server on 127.0.0.1, which is allowed; 127.0.0.2 stands for a private host."""

import errno
import random
import shutil
import subprocess
import sys
import time

import av
import pytest
from PIL import Image
from pydantic import TypeAdapter
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, PostProcessingError

from preprocessing.download.attempt import classify
from preprocessing.download.raw_folder import (
    download_source,
    download_sources,
    read_verified,
    receiving_folder,
    remove_stale,
)
from preprocessing.media.video import probe
from preprocessing.outcome import DownloadStatus
from preprocessing.sources.source import Source
from tests.preprocessing.fault_server import (
    FaultServer,
    answer,
    answer_first,
    as_date,
    claim,
    drip,
    hang,
    in_seconds,
)

CASES = {
    "/a/v.mp4": (DownloadStatus.VERIFIED, ""),
    "/b/v.mp4": (DownloadStatus.VERIFIED, ""),
    "/index_at_end.mp4": (DownloadStatus.VERIFIED, ""),
    "/uneven.mp4": (DownloadStatus.VERIFIED, ""),
    "/rotated.mp4": (DownloadStatus.VERIFIED, ""),
    "/ten_bits.mp4": (DownloadStatus.VERIFIED, ""),
    "/av1.mp4": (DownloadStatus.VERIFIED, ""),
    "/soon.mp4": (DownloadStatus.VERIFIED, ""),
    "/on_a_date.mp4": (DownloadStatus.VERIFIED, ""),
    "/moved.mp4": (DownloadStatus.VERIFIED, ""),
    "/none.mp4": (DownloadStatus.PERMANENT, "404"),
    "/gone.mp4": (DownloadStatus.PERMANENT, "410"),
    "/secret.mp4": (DownloadStatus.PERMANENT, "403"),
    "/round.mp4": (DownloadStatus.PERMANENT, "redirect loop"),
    "/page.mp4": (DownloadStatus.PERMANENT, "Unsupported URL"),
    "/liar.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/sound.mp4": (DownloadStatus.PERMANENT, "no video"),
    "/large.mp4": (DownloadStatus.PERMANENT, "raise download.max_bytes"),
    "/cut.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/claims_less.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/to_private.mp4": (DownloadStatus.PERMANENT, "allow_private_hosts"),
    "/cut.mkv": (DownloadStatus.RETRYABLE, "claims 8.0 s"),
    "/claims_more.mp4": (DownloadStatus.RETRYABLE, "more expected"),
    "/empty.mp4": (DownloadStatus.RETRYABLE, "data blocks"),
    "/down.mp4": (DownloadStatus.RETRYABLE, "503"),
}
"""Where each ends, and what its line says."""


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", range(20, 220, 4)).read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory, make_video, make_sound, video):
    folder = tmp_path_factory.mktemp("served")
    server = FaultServer("127.0.0.1")
    # What is cut off is missing, what is there decodes, and the header claims all of it.
    long = make_video(folder / "long.mkv", [50, 100] * 100, fps=25).read_bytes()
    page = b"<html><body>No video here.</body></html>"
    times_s = [0.0, 0.01, 0.3, 0.35, 0.9, 1.0, 1.5, 1.55]
    server.files = {
        "/a/v.mp4": ("video/mp4", video),
        "/b/v.mp4": ("video/mp4", video + b"\0\0\0\x08free"),
        "/uneven.mp4": ("video/mp4", make_video(folder / "u.mp4", [80] * 8, times_s).read_bytes()),
        "/rotated.mp4": ("video/mp4", make_video(folder / "r.mp4", [80] * 8, rotation=90).read_bytes()),
        "/ten_bits.mp4": ("video/mp4", write_clip(folder / "h.mp4", "libx265", "yuv420p10le")),
        "/av1.mp4": ("video/mp4", write_clip(folder / "a.mp4", "libsvtav1", "yuv420p10le")),
        "/page.mp4": ("text/html", page),
        "/liar.mp4": ("video/mp4", page * 100),
        "/sound.mp4": ("video/mp4", make_sound(folder / "sound.mp4").read_bytes()),
        "/empty.mp4": ("video/mp4", b""),
        "/cut.mp4": ("video/mp4", video[: len(video) // 2]),
        "/cut.mkv": ("video/x-matroska", long[: len(long) // 3]),
        "/large.mp4": ("video/mp4", video + bytes(300_000)),
    }
    for name in ("index_at_end", "soon", "on_a_date", "claims_less", "claims_more", "slow", "silent"):
        server.files[f"/{name}.mp4"] = ("video/mp4", video)
    # The muxer writes the index last, and this server knows no ranges.
    assert video.index(b"mdat") < video.index(b"moov")
    server.faults = {
        "/gone.mp4": answer(410),
        "/secret.mp4": answer(403),
        "/down.mp4": answer(503),
        "/soon.mp4": answer_first(503, in_seconds),
        "/on_a_date.mp4": answer_first(503, as_date),
        "/claims_less.mp4": claim(0.5),
        "/claims_more.mp4": claim(2.0),
        "/slow.mp4": drip,
        "/silent.mp4": hang,
    }
    server.redirects = {"/moved.mp4": "/a/v.mp4", "/round.mp4": "/round.mp4"}
    yield server
    server.close()


def write_clip(path, codec, pixels):
    """Return a short video of another codec, ten bits a sample."""
    options = {"x265-params": "log-level=none", "preset": "10" if codec == "libsvtav1" else "ultrafast"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(64, 64, pixels)))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="module")
def private_host():
    server = FaultServer("127.0.0.2")
    yield server
    server.close()


@pytest.fixture(scope="module")
def batch(tmp_path_factory, server, private_host, download_settings, make_source, video):
    """Good and bad sources in one run."""
    server.redirects["/to_private.mp4"] = f"{private_host.url}/v.mp4"
    urls = [f"{server.url}{path}" for path in CASES]
    urls += ["http://127.0.0.1:1/unreachable.mp4", f"{private_host.url}/v.mp4"]
    raw = tmp_path_factory.mktemp("project") / "raw"
    changes = {"max_bytes": len(video) + 100_000, "num_retries": 1, "retry_delay_s": 0.1, "num_parallel": 3}
    settings = download_settings.model_copy(update=changes)
    said = []
    downloads = download_sources(
        [make_source(url) for url in urls], settings, raw, lambda *words: said.append(words)
    )
    return raw, {url: downloads[make_source(url).key] for url in urls}, said


@pytest.mark.parametrize(("path", "status", "words"), [(path, *ends) for path, ends in CASES.items()])
def test_every_source_ends_in_its_own_state(batch, server, path, status, words):
    _, downloads, _ = batch
    download = downloads[f"{server.url}{path}"]
    assert download.status == status, download.error
    assert words in (download.error or "")
    assert (download.error is None) == (status == DownloadStatus.VERIFIED)


@pytest.mark.parametrize(("path", "num_requests"), [("/none.mp4", 1), ("/gone.mp4", 1), ("/soon.mp4", 3)])
def test_only_what_may_pass_is_tried_again(batch, server, path, num_requests):
    assert server.requests.count(path) == num_requests


def test_facts_are_those_of_the_upright_frames(batch, server):
    _, downloads, _ = batch
    facts = {path: downloads[f"{server.url}{path}"] for path in CASES}
    assert (facts["/rotated.mp4"].width_px, facts["/rotated.mp4"].height_px) == (48, 64)
    assert facts["/uneven.mp4"].duration_s == pytest.approx(1.55, abs=0.3)
    assert (facts["/ten_bits.mp4"].vcodec, facts["/av1.mp4"].vcodec) == ("hevc", "av1")


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
    assert {words[0][:5] for words in said} == {"%d/%d"}
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
    assert download_source(make_source(url), download_settings, raw).download == downloads[url]
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
    assert download_source(source, download_settings, copy).download == download
    assert (copy / download.file).read_bytes() == content


def test_files_of_sources_listed_no_longer_go(batch, tmp_path, server, make_source):
    raw, downloads, _ = batch
    source, other = (make_source(f"{server.url}/{folder}/v.mp4") for folder in "ab")
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    kept = {download.file for url, download in downloads.items() if url != other.url}
    assert remove_stale(copy, {make_source(url).key for url in downloads} - {other.key}) == [
        f"{other.key}.json",
        f"{other.key}.mp4",
    ]
    assert {path.name for path in copy.iterdir() if path.suffix != ".json"} == kept - {None}
    assert read_verified(copy, source.key) == downloads[source.url]


@pytest.mark.parametrize("name", ["slow", "silent"])
def test_time_limit_is_kept_and_nothing_half_received_is_shown(
    tmp_path, server, download_settings, make_source, name
):
    settings = download_settings.model_copy(update={"timeout_s": 4.0})
    source = make_source(f"{server.url}/{name}.mp4")
    download = download_source(source, settings, tmp_path / "raw").download
    assert (download.status, "longer than 4 s" in download.error) == (DownloadStatus.RETRYABLE, True)
    assert f"/{name}.mp4" in server.requests
    assert not (tmp_path / "raw").exists()


def test_memory_limit_is_kept(tmp_path, server, download_settings, make_source):
    settings = download_settings.model_copy(update={"max_memory_bytes": 10_000_000})
    download = download_source(make_source(f"{server.url}/a/v.mp4"), settings, tmp_path / "raw").download
    assert download.status == DownloadStatus.PERMANENT
    assert "more than 10000000 bytes of memory" in download.error


def test_a_host_that_asks_for_a_pause_gets_it(tmp_path, video, download_settings, make_source):
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


def test_a_host_that_goes_on_asking_is_asked_nothing_more(tmp_path, download_settings, make_source):
    server = FaultServer("127.0.0.3")
    server.faults["/busy.mp4"] = answer(429, {"Retry-After": "0"})
    changes = {"num_parallel": 1, "allow_private_hosts": ("127.0.0.3",), "max_host_pauses": 1}
    settings = download_settings.model_copy(update=changes)
    sources = [make_source(f"{server.url}/{name}.mp4") for name in ("busy", "next", "last")]
    downloads = download_sources(sources, settings, tmp_path / "raw", lambda *_: None)
    server.close()
    assert {download.status for download in downloads.values()} == {DownloadStatus.STOP_THE_QUEUE}
    assert server.requests == ["/busy.mp4"] * 2


def test_a_failure_of_our_own_ends_the_run_instead_of_hanging_it(tmp_path, download_settings, make_source):
    changes = {"max_per_hour": {"127.0.0.1": 9}, "num_parallel": 2}
    settings = download_settings.model_copy(update=changes)
    receiving = receiving_folder(tmp_path / "raw")
    # Where the counts of the hour belong is no room for them.
    (receiving / "hosts.partial").mkdir(parents=True)
    sources = [make_source(f"http://127.0.0.1:1/{number}.mp4") for number in range(4)]
    with pytest.raises(IsADirectoryError):
        download_sources(sources, settings, tmp_path / "raw", lambda *_: None)


def test_behind_a_proxy_nothing_else_is_connected_to(tmp_path, server, download_settings, make_source, video):
    """A proxy is asked for whole addresses, so that a plain server can stand for one."""
    proxy = FaultServer("127.0.0.4")
    public, private = "http://192.0.2.1/v.mp4", "http://127.0.0.2/v.mp4"
    proxy.files = dict.fromkeys((public, private), ("video/mp4", video))
    changes = {"proxy": proxy.url, "allow_private_hosts": ("192.0.2.1",)}
    settings = download_settings.model_copy(update=changes)
    good, bad = (
        download_source(make_source(url), settings, tmp_path / "raw").download for url in (public, private)
    )
    proxy.close()
    assert good.status == DownloadStatus.VERIFIED, good.error
    assert (bad.status, "allow_private_hosts" in bad.error) == (DownloadStatus.PERMANENT, True)
    assert set(proxy.requests) == {public}


def test_cookies_are_sent_and_the_file_is_left_alone(tmp_path, download_settings, make_source, video):
    seen = []
    server = FaultServer("127.0.0.1")
    server.files["/v.mp4"] = ("video/mp4", video)
    server.faults["/v.mp4"] = lambda _, handler: seen.append(handler.headers.get("Cookie"))
    cookies = tmp_path / "cookies.txt"
    line = "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", "sign", "me"))
    cookies.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    before = cookies.read_text()
    settings = download_settings.model_copy(update={"cookies": cookies})
    source = make_source(f"{server.url}/v.mp4")
    assert download_source(source, settings, tmp_path / "raw").download.status == DownloadStatus.VERIFIED
    server.close()
    assert set(seen) == {"sign=me"}
    assert cookies.read_text() == before
    missing = settings.model_copy(update={"cookies": tmp_path / "none.txt"})
    other = download_source(make_source(f"{server.url}/w.mp4"), missing, tmp_path / "raw").download
    assert (other.status, "none.txt" in other.error) == (DownloadStatus.ENVIRONMENT, True)


def test_a_format_that_the_host_has_not_is_no_fault_of_the_video(
    tmp_path, server, download_settings, make_source
):
    settings = download_settings.model_copy(update={"format": "bv*[height>9000]"})
    download = download_source(make_source(f"{server.url}/a/v.mp4"), settings, tmp_path / "raw").download
    assert (download.status, "download.format" in download.error) == (DownloadStatus.ENVIRONMENT, True)


DOWNLOAD_ALL = """
import pathlib, sys
from pydantic import TypeAdapter
from preprocessing.download.raw_folder import download_sources
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
    # An undisturbed run takes some four seconds, of which starting takes two.
    time.sleep(random.Random(seed).uniform(1.5, 4.0))
    process.kill()
    process.wait()
    for path in (tmp_path / "raw").glob("*.mp4"):
        assert path.read_bytes() == (raw / path.name).read_bytes()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wanted = {name: (raw / name).read_bytes() for source in sources for name in files_of(downloads, source)}
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == wanted
    assert [path for path in receiving_folder(tmp_path / "raw").iterdir() if path.is_dir()] == []


def files_of(downloads, source):
    return downloads[source.url].file, f"{source.key}.json"


def test_a_full_disk_is_told_and_nothing_half_written_is_shown(
    tmp_path, server, download_settings, make_source, run_on_small_disk
):
    """A copy needs no network, which a namespace has not."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films/v.mp4").write_bytes(server.files["/large.mp4"][1])
    settings = download_settings.model_copy(update={"local_root": tmp_path / "films"})
    source = make_source((tmp_path / "films/v.mp4").as_uri())
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    (tmp_path / "sources.json").write_bytes(TypeAdapter(list[Source]).dump_json([source]))
    program = f"{DOWNLOAD_ALL}\nprint([str(path) for path in pathlib.Path(sys.argv[2]).rglob('*')])\n"
    small = tmp_path / "small"
    *said, left = run_on_small_disk(program, small, "40k", tmp_path, small / "raw")
    assert len(said) == 1
    assert "environment" in said[0]
    assert "No space left" in said[0]
    assert left == "[]"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "full"), DownloadStatus.ENVIRONMENT),
        (PostProcessingError("ffmpeg not found"), DownloadStatus.ENVIRONMENT),
        (TransportError("reset"), DownloadStatus.RETRYABLE),
        (ExtractorError("private video", expected=True), DownloadStatus.PERMANENT),
        (
            ExtractorError("Sign in to confirm you're not a bot", expected=True),
            DownloadStatus.STOP_THE_QUEUE,
        ),
        (ExtractorError("Sign in to confirm your age", expected=True), DownloadStatus.PERMANENT),
        (ExtractorError("the site has changed"), DownloadStatus.RETRYABLE),
    ],
)
def test_an_error_is_judged_by_its_cause_however_it_is_wrapped(error, status):
    assert classify(error) == status
    assert classify(DownloadError("x", (type(error), error, None))) == status


def write_picture(path):
    path.parent.mkdir()
    Image.new("RGB", (64, 48)).save(path)


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
        return download_source(make_source(path.as_uri()), settings, tmp_path / "raw").download

    found = fetch(good)
    assert (found.status, found.downloader, found.width_px) == ("verified", "copied", 64)
    copy = tmp_path / "raw" / found.file
    assert copy.read_bytes() == good.read_bytes()
    assert not copy.samefile(good)
    for path in (outside, root / "link.mp4", root / ".." / "outside.mp4"):
        refused = fetch(path)
        assert (refused.status, "download.local_root" in refused.error) == ("permanent", True)
    assert "not set" in fetch(outside, download_settings).error
    write_picture(root / "pictures/0000000.png")
    packed = fetch(root / "pictures")
    assert (packed.status, packed.downloader, packed.vcodec) == ("verified", "packed", "png")
    (root / "empty").mkdir()
    for path in (root / "none.mp4", root / "empty", root / "sound.m4a", root / "empty.mp4"):
        assert fetch(path).status == "permanent", path
    small = allowed.model_copy(update={"max_bytes": 10})
    (tmp_path / "raw" / found.file).unlink()
    assert "raise download.max_bytes" in fetch(good, small).error
