from fractions import Fraction

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
