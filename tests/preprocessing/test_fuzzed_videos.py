"""Damaged videos of many kinds: each ends in one typed outcome and costs nobody else anything."""

import hashlib
import random
from collections import Counter

import av
import numpy as np
import pytest

from preprocessing.clips.source_run import SourceTask
from preprocessing.clips.units import group_into_units, process_here
from preprocessing.outcome import DownloadStatus
from tests.preprocessing.conftest import download_alone
from tests.scheduling import kept_scheduling

KINDS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "hevc.mp4": ("libx265", "yuv420p10le"),
    "av1.mp4": ("libsvtav1", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "yuvj420p"),
}
ENDS = ("kept", "filtered(too_short)", "failed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One good video of each kind, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    pictures = [np.roll(picture, number, axis=1) for number in range(60)]
    for name, (codec, pixels) in KINDS.items():
        quiet = {"x265-params": "log-level=none", "preset": "10"} if codec == "libsvtav1" else {}
        quiet = {"x265-params": "log-level=none", "preset": "ultrafast"} if codec == "libx265" else quiet
        with kept_scheduling(), av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25, options=quiet)
            stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
            for shown in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
            container.mux(stream.encode(None))
    return {name: (folder / name).read_bytes() for name in KINDS}


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return a copy with one kind of damage: flipped bits, lost, repeated, zeroed or strange bytes."""
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 16, 256, 4096)))
    kind = draw.randrange(6)
    if kind == 0:
        flipped = bytearray(data)
        for _ in range(draw.choice((1, 10, 100))):
            flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    middle = [b"", data[start:end] * 2, bytes(end - start), draw.randbytes(end - start)]
    return data[:start] if kind == 5 else data[:start] + middle[kind - 1] + data[end:]


@pytest.mark.parametrize(
    "num_each",
    [
        pytest.param(4, id="a few"),
        pytest.param(200, id="many", marks=pytest.mark.drill),
    ],
)
def test_damaged_videos_cost_themselves_alone(
    whole, make_source, shards_settings, download_settings, tmp_path, num_each
):
    # No face is looked for, so that the time goes into decoding.
    crop = shards_settings.crop.model_copy(update={"rule": "none", "min_size_px": 16})
    quality = shards_settings.quality.model_copy(update={"min_duplicate_similarity": None})
    settings = shards_settings.model_copy(update={"crop": crop, "quality": quality, "timeout_s": 60.0})
    draw = random.Random(0)
    jobs = []
    for name, data in whole.items():
        for number in range(num_each + 1):
            # The first of each kind is whole.
            path = tmp_path / f"{number}-{name}"
            path.write_bytes(damaged(data, draw) if number else data)
            jobs.append(
                SourceTask(
                    source=make_source(path.as_uri()),
                    video=path,
                    video_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                    root=tmp_path,
                    settings=settings,
                    tracks=tmp_path / "tracks",
                    clips=tmp_path / "clips",
                )
            )
    results = process_here(group_into_units(jobs, 4, lambda task: task.source), 2, lambda result: None)
    by_key = {result.row_key: result for result in results}
    assert len(by_key) == len(jobs)
    ends = {task.video.name: by_key[task.source.row_key].rows[0] for task in jobs}
    assert all(row.label in ENDS for row in ends.values())
    assert {ends[f"0-{name}"].label for name in KINDS} == {"kept"}
    # Broken files that show nothing of use are told from those that are still good.
    counts = Counter(row.label for row in ends.values())
    assert counts["failed"] >= num_each / 2
    assert counts["kept"] > len(KINDS)
    assert all(row.error and "\n" not in row.error for row in ends.values() if row.label == "failed")

    # The download stage verifies by decoding, in a process of its own, with the same care.
    receiving = download_settings.model_copy(update={"local_root": tmp_path})
    for name in KINDS:
        outcome = download_alone(make_source((tmp_path / f"1-{name}").as_uri()), receiving, tmp_path / "raw")
        assert outcome.download.status in (
            DownloadStatus.VERIFIED,
            DownloadStatus.PERMANENT,
            DownloadStatus.RETRYABLE,
        )
