import os
from fractions import Fraction

import av
import numpy as np
import pytest

from preprocessing.media.video_reader import decode, probe
from preprocessing.media.video_writer import VideoWriter

LEVELS = list(range(20, 220, 10))


def middle(image):
    return int(image[image.shape[0] // 2, image.shape[1] // 2, 0])


def test_written_video_has_every_frame_and_the_exact_rate(tmp_path):
    rate = Fraction(30000, 1001)
    with VideoWriter(tmp_path / "o.mp4", rate, (64, 48)) as writer:
        for level in LEVELS:
            writer.write(np.full((48, 64, 3), level, np.uint8))
    info = probe(tmp_path / "o.mp4")
    assert (info.fps, info.num_frames, info.audio_codec) == (rate, len(LEVELS), None)
    frames = list(decode(tmp_path / "o.mp4"))
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS, abs=4)
    assert frames[-1].pts_s == pytest.approx(float((len(LEVELS) - 1) / rate), abs=1e-4)


def test_odd_sizes_lose_no_picture(tmp_path):
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (63, 47)) as writer:
        writer.write(np.full((47, 63, 3), 120, np.uint8))
    info = probe(tmp_path / "o.mp4")
    assert (info.width_px, info.height_px) == (64, 48)


def test_colours_survive_writing_and_reading(tmp_path):
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128]], np.uint8)
    image = np.repeat(np.repeat(colours[None], 64, 0), 32, 1)
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (128, 64)) as writer:
        writer.write(image)
    read = next(decode(tmp_path / "o.mp4")).image
    np.testing.assert_allclose(read[32, 16::32].astype(int), colours.astype(int), atol=6)


def write_and_stop(path):
    with VideoWriter(path, Fraction(25), (64, 48)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")


def test_unfinished_video_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop(tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_image_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="32x48"),
        VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 48)) as writer,
    ):
        writer.write(np.zeros((48, 32, 3), np.uint8))


@pytest.mark.parametrize(
    "name",
    [
        b"x" * 251 + b".mp4",
        b"12:30.mp4",
        b"file:x.mp4",
        b"pipe:1.mp4",
        b"%05d.mp4",
        b"-i.mp4",
        b"a?b#c d'e\".mp4",
        "ü漢.mp4".encode(),
        b"\xff\xfe.mp4",
        b"UPPER.MP4",
    ],
)
def test_any_name_that_the_file_system_takes_works(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    with VideoWriter(path, Fraction(25), (64, 48)) as writer:
        for level in LEVELS:
            writer.write(np.full((48, 64, 3), level, np.uint8))
    assert [os.fsencode(found.name) for found in tmp_path.iterdir()] == [name]
    assert probe(path).num_frames == len(list(decode(path))) == len(LEVELS)


FILL = """
import sys, numpy as np
from fractions import Fraction
from pathlib import Path
from preprocessing.media.video_writer import VideoWriter
from preprocessing.storage.files import is_disk_error
folder = Path(sys.argv[1])
try:
    with VideoWriter(folder / "o.mp4", Fraction(25), (256, 256)) as writer:
        for seed in range(50):
            writer.write(np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8))
except OSError as error:
    print(is_disk_error(error), len(str(error).splitlines()), error)
print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, run_on_small_disk):
    told, left = run_on_small_disk(FILL, tmp_path / "small", "100k", tmp_path / "small")
    assert told.startswith("True 1 ")
    assert left == "[]"


def test_tags_of_any_name_are_written_and_read(tmp_path):
    tags = {"comment": "Größe ≤ 5", "our_own": "a" * 500, "title": "x"}
    with VideoWriter(tmp_path / "a.mp4", Fraction(25), (32, 32), tags=tags) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert {name: container.metadata[name] for name in tags} == tags
    assert probe(tmp_path / "a.mp4").num_frames == 1


@pytest.mark.parametrize("width", [32, 80, 128, 200])
def test_the_same_images_give_the_same_bytes_whatever_the_memory_held(tmp_path, width):
    random = np.random.default_rng(0)
    noise = random.normal(0, 3, (width, width, 3))
    images = [(100 + 3 * n + noise + random.normal(0, 2, noise.shape)).astype(np.uint8) for n in range(10)]
    written = set()
    held = []
    for _ in range(20):
        # Other memory is taken and freed each time, which the encoder finds with its old contents.
        sizes = random.integers(1, 3_000_000, int(random.integers(1, 40)))
        held = [np.full(size, level, dtype=np.uint8) for level, size in enumerate(sizes)]
        del held[::2]
        with VideoWriter(tmp_path / "o.mp4", Fraction(25), (width, width)) as writer:
            for image in images:
                writer.write(image)
        written.add((tmp_path / "o.mp4").read_bytes())
    assert len(written) == 1
