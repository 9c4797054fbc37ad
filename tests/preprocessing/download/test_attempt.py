"""One attempt each, in a child process; 127.0.0.2 stands for a private host."""

import pytest
from pydantic import SecretStr

from preprocessing.download.attempt import verification_limit_s
from preprocessing.media.video_reader import probe
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.conftest import download_alone
from tests.preprocessing.download.conftest import CASES
from tests.preprocessing.fault_server import FaultServer


def test_facts_are_those_of_the_upright_frames(batch, server):
    _, downloads, _ = batch
    facts = {path: downloads[f"{server.url}{path}"] for path in CASES}
    assert (facts["/rotated.mp4"].width_px, facts["/rotated.mp4"].height_px) == (48, 64)
    assert facts["/uneven.mp4"].duration_s == pytest.approx(1.2, abs=0.01)
    assert (facts["/ten_bits.mp4"].vcodec, facts["/av1.mp4"].vcodec) == ("hevc", "av1")


def test_a_private_host_is_never_contacted_not_even_by_redirect(batch, server, private_host):
    _, downloads, _ = batch
    for url in (f"{private_host.url}/v.mp4", f"{server.url}/to_private.mp4"):
        assert downloads[url].status == DownloadStatus.PERMANENT
        assert "127.0.0.2" in downloads[url].error
        assert "allow_private_hosts" in downloads[url].error
    assert private_host.requests == []


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


def test_with_a_proxy_nothing_else_is_connected_to(tmp_path, server, download_settings, make_source, video):
    """Proxies get whole URLs as paths, so a plain server can serve as one."""
    proxy = FaultServer("127.0.0.4")
    public, private = "http://192.0.2.1/v.mp4", "http://127.0.0.2/v.mp4"
    proxy.files = dict.fromkeys((public, private), ("video/mp4", video))
    changes = {"proxy": SecretStr(proxy.url), "allow_private_hosts": ("192.0.2.1",)}
    settings = download_settings.model_copy(update=changes)
    good, bad = (
        download_alone(make_source(url), settings, tmp_path / "raw").download for url in (public, private)
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
    assert download_alone(source, settings, tmp_path / "raw").download.status == DownloadStatus.VERIFIED
    server.close()
    assert set(seen) == {"sign=me"}
    assert cookies.read_text() == before
    missing = settings.model_copy(update={"cookies": tmp_path / "none.txt"})
    other = download_alone(make_source(f"{server.url}/w.mp4"), missing, tmp_path / "raw").download
    assert (other.status, "none.txt" in other.error) == (DownloadStatus.ENVIRONMENT, True)


def test_a_missing_format_is_a_problem_of_the_settings_not_of_the_video(
    tmp_path, server, download_settings, make_source
):
    settings = download_settings.model_copy(update={"format": "bv*[height>9000]"})
    download = download_alone(make_source(f"{server.url}/a/v.mp4"), settings, tmp_path / "raw").download
    assert (download.status, "download.format" in download.error) == (DownloadStatus.ENVIRONMENT, True)


def test_the_limit_of_verification_grows_with_the_length_of_the_video(download_settings):
    settings = download_settings.model_copy(update={"timeout_s": 60.0, "min_decode_fps": 2.0})
    assert verification_limit_s(0, settings) == 60.0
    assert verification_limit_s(10 * 3600 * 25, settings) == 60.0 + 450_000
