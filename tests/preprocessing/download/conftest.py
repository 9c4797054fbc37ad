"""Good and bad sources from a server on 127.0.0.1, which is allowed; 127.0.0.2 stands for a private host."""

from fractions import Fraction

import av
import numpy as np
import pytest

from preprocessing.download.run import download_sources
from preprocessing.outcome import DownloadStatus
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
from tests.scheduling import kept_scheduling

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
    "/secret.mp4": (DownloadStatus.RETRYABLE, "403"),
    "/round.mp4": (DownloadStatus.PERMANENT, "redirect loop"),
    "/page.mp4": (DownloadStatus.PERMANENT, "Unsupported URL"),
    "/liar.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/sound.mp4": (DownloadStatus.PERMANENT, "no video"),
    "/large.mp4": (DownloadStatus.PERMANENT, "raise download.max_bytes"),
    "/cut.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/claims_less.mp4": (DownloadStatus.PERMANENT, "got video.mp4, but it is not a video"),
    "/to_private.mp4": (DownloadStatus.PERMANENT, "allow_private_hosts"),
    "/cut.mkv": (DownloadStatus.RETRYABLE, "it ends 6.0 s earlier"),
    "/claims_more.mp4": (DownloadStatus.RETRYABLE, "more expected"),
    "/empty.mp4": (DownloadStatus.RETRYABLE, "data blocks"),
    "/down.mp4": (DownloadStatus.RETRYABLE, "503"),
}
"""Expected status, and part of the error message, by path."""


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", range(20, 220, 4)).read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory, make_video, make_sound, video):
    folder = tmp_path_factory.mktemp("served")
    server = FaultServer("127.0.0.1")
    # Its first part decodes, and the header claims the whole length.
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
    # The muxer writes the index last, and this server supports no ranges.
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
    """Return a short video of another codec, with ten bits per sample."""
    options = {"x265-params": "log-level=none", "preset": "10" if codec == "libsvtav1" else "ultrafast"}
    with kept_scheduling(), av.open(str(path), "w") as container:
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
    logged = []
    downloads = download_sources(
        [make_source(url) for url in urls], settings, raw, lambda *words: logged.append(words)
    )
    return raw, {url: downloads[make_source(url).key] for url in urls}, logged


def write_slow_video(path, num_frames):
    """Write a video that is quick to send and slow to decode: one large picture, over and over."""
    width, height = 3840, 2160
    levels = np.arange(width * height * 3, dtype=np.uint32).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(levels.reshape(height, width, 3), format="rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        content = b"".join(bytes(packet) for packet in [*stream.encode(picture), *stream.encode(None)])
        for number in range(num_frames):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)
    return path.read_bytes()
