from fractions import Fraction

import numpy as np
import pytest

from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.video_reader import decode, find_damage, probe
from preprocessing.media.video_writer import VideoWriter
from tests.preprocessing.ffmpeg import make_pattern

LEVELS = list(range(20, 220, 10))


def middle(image):
    return int(image[image.shape[0] // 2, image.shape[1] // 2, 0])


def test_every_stored_frame_comes_once_with_its_own_time(tmp_path, make_video):
    times = [0, 0.04, 0.1, 0.3, 0.31]
    frames = list(decode(make_video(tmp_path / "v.mp4", LEVELS[:5], times)))
    assert [frame.pts_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS[:5], abs=3)


def test_same_rate_keeps_every_frame(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS)
    assert [middle(frame.image) for frame in decode(path, 25)] == pytest.approx(LEVELS, abs=3)


def test_variable_rate_is_resampled_by_time_on_screen(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", [50, 100, 200], [0, 0.4, 0.48])
    frames = list(decode(path, 25))
    assert [middle(frame.image) for frame in frames] == pytest.approx([50, 100, 200], abs=3)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.4, 0.48], abs=1e-3)


def test_a_slower_video_is_not_padded(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS, fps=10)
    frames = list(decode(path, 25))
    assert [middle(frame.image) for frame in frames] == pytest.approx(LEVELS, abs=3)
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 10 for number in range(20)], abs=1e-3)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_clock_that_starts_again_goes_on_in_a_new_segment(tmp_path, b_frames):
    one = make_pattern(tmp_path / "one.ts", "-c:v", "libx264", "-bf", b_frames, seconds=0.4)
    both = tmp_path / "both.ts"
    both.write_bytes(2 * one.read_bytes())
    info = probe(both)
    assert (info.num_frames, info.duration_s) == (20, pytest.approx(0.8, abs=0.01))
    starts = [float(segment.start) for segment in info.segments]
    assert starts == pytest.approx([0, 0.4], abs=0.01)
    frames = list(decode(both))
    assert [frame.segment for frame in frames] == [0] * 10 + [1] * 10
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 25 for n in range(20)], abs=0.01)


def test_a_hole_starts_a_segment_and_takes_no_time(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", LEVELS, [n * 0.04 + 600 * (n >= 10) for n in range(20)])
    assert [(frame.segment, frame.pts_s >= 600) for frame in decode(path, 25)] == [(0, False)] * 10 + [
        (1, True)
    ] * 10
    info = probe(path)
    assert (info.fps, info.num_frames, len(info.segments)) == (25, 20, 2)
    assert info.duration_s == pytest.approx(0.8, abs=0.01)


def test_the_rate_is_constant_only_if_pictures_come_at_it(tmp_path, make_video):
    assert probe(make_video(tmp_path / "c.mp4", LEVELS)).has_constant_rate
    slowing = [0.04 * n + (0.08 if n > 10 else 0) for n in range(20)]
    assert not probe(make_video(tmp_path / "v.mp4", LEVELS, slowing)).has_constant_rate


def test_a_single_frame_survives_any_rate(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", [80], fps=30)
    assert len(list(decode(path, 5))) == 1


@pytest.mark.parametrize(
    ("rotation", "size", "corner"),
    [(0, (64, 48), (0, 0)), (90, (48, 64), (-1, 0)), (180, (64, 48), (-1, -1)), (-90, (48, 64), (0, -1))],
)
def test_frames_come_upright(tmp_path, make_video, rotation, size, corner):
    """A positive angle turns the stored picture counter-clockwise: its top left corner goes down."""
    path = make_video(tmp_path / "v.mp4", [50, 50], rotation=rotation)
    info = probe(path)
    image = next(decode(path)).image
    assert (info.width_px, info.height_px) == size == image.shape[1::-1]
    assert image[corner][0] > 200
    assert (image > 200).all(axis=2).mean() == pytest.approx(1 / 16, abs=0.03)


@pytest.mark.parametrize("content", [b"", b"<html><body>no video here</body></html>" * 50])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "page.mp4"
    path.write_bytes(content)
    for read in (probe, find_damage, lambda path: next(decode(path))):
        with pytest.raises(UnreadableVideoError, match=r"page\.mp4.*give another file"):
            read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableVideoError, match="no such file"):
        probe(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path, make_sound):
    with pytest.raises(UnreadableVideoError, match="sound and no video track"):
        probe(make_sound(tmp_path / "sound.mp4"))


def test_frames_of_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    with VideoWriter(tmp_path / "clip.mp4", Fraction(25), (64, 64)) as writer:
        writer.write(np.zeros((64, 64, 3), dtype=np.uint8))
    for most, is_read in ((4096, True), (4095, False)):
        monkeypatch.setattr("preprocessing.media.containers.packets.MAX_PIXELS", most)
        if is_read:
            assert len(list(decode(tmp_path / "clip.mp4"))) == 1
        else:
            with pytest.raises(UnreadableVideoError):
                list(decode(tmp_path / "clip.mp4"))
