"""Streams in fragments (HLS), cut by the packaged FFmpeg; a missing fragment must never go unnoticed."""

import subprocess

import imageio_ffmpeg
import pytest

from preprocessing.download.records.raw_folder import receiving_folder
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.conftest import download_alone
from tests.preprocessing.fault_server import FaultServer, answer, answer_first

NUM_FRAGMENTS = 6


@pytest.fixture(scope="module")
def stream(tmp_path_factory, make_video):
    """Files of a stream of 6 s by path: a playlist and a fragment a second."""
    folder = tmp_path_factory.mktemp("stream")
    video = make_video(folder / "v.mp4", list(range(20, 170)), fps=25)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(video)]
    command += ["-c:v", "libx264", "-g", "25", "-sc_threshold", "0", "-f", "hls", "-hls_time", "1"]
    command += [
        "-hls_list_size",
        "0",
        "-hls_segment_filename",
        str(folder / "s%d.ts"),
        str(folder / "v.m3u8"),
    ]
    subprocess.run(command, check=True)
    fragments = {f"/s{number}.ts": (folder / f"s{number}.ts").read_bytes() for number in range(NUM_FRAGMENTS)}
    playlist = {"/v.m3u8": ("application/vnd.apple.mpegurl", (folder / "v.m3u8").read_bytes())}
    return playlist | {path: ("video/mp2t", content) for path, content in fragments.items()}


@pytest.fixture
def server(stream):
    server = FaultServer("127.0.0.1")
    server.files = dict(stream)
    yield server
    server.close()


@pytest.fixture
def download(tmp_path, server, download_settings, make_source):
    """Function that downloads the stream, with these settings changed, and returns the outcome."""

    def run(**changes):
        settings = download_settings.model_copy(update={"retry_delay_s": 0.1} | changes)
        return download_alone(make_source(f"{server.url}/v.m3u8"), settings, tmp_path / "raw").download

    return run


def test_fragments_that_fail_once_are_requested_again_and_the_video_is_whole(server, download):
    server.faults = {path: answer_first(503, dict) for path in ("/s2.ts", "/s3.ts")}
    found = download()
    assert found.status == DownloadStatus.VERIFIED, found.error
    assert found.duration_s == pytest.approx(NUM_FRAGMENTS, abs=0.05)
    assert [server.requests.count(f"/s{number}.ts") for number in range(NUM_FRAGMENTS)] == [1, 1, 2, 2, 1, 1]


def test_a_fragment_that_never_comes_makes_the_download_retryable(server, download):
    server.faults = {"/s2.ts": answer(503)}
    found = download(num_fragment_retries=2)
    assert (found.status, found.file) == (DownloadStatus.RETRYABLE, None)
    assert "503" in found.error
    assert server.requests.count("/s2.ts") == 3


@pytest.mark.parametrize("number", [0, NUM_FRAGMENTS - 1])
def test_neither_the_first_nor_the_last_fragment_is_left_out(server, download, number):
    server.faults = {f"/s{number}.ts": answer(503)}
    assert download(num_fragment_retries=0).status == DownloadStatus.RETRYABLE


def test_a_rerun_goes_on_at_the_fragment_that_was_missing(tmp_path, server, download, make_source):
    server.faults = {"/s4.ts": answer(503)}
    assert download(num_fragment_retries=0).status == DownloadStatus.RETRYABLE
    folder = receiving_folder(tmp_path / "raw", make_source(f"{server.url}/v.m3u8").key)
    assert [path for path in folder.iterdir() if path.name.startswith("video.")]
    server.faults = {}
    found = download()
    assert found.status == DownloadStatus.VERIFIED, found.error
    assert found.duration_s == pytest.approx(NUM_FRAGMENTS, abs=0.05)
    assert server.requests.count("/s0.ts") == 1
