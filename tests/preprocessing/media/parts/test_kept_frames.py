import pytest

from preprocessing.media.parts.kept_frames import KeptFrames
from preprocessing.media.parts.listed_part import part_frames


@pytest.fixture
def opened(tmp_path, make_video):
    """A function that opens ten frames, and a list that tells how often it was called."""
    video, calls = make_video(tmp_path / "v.mp4", list(range(20, 120, 10))), []

    def open_frames():
        calls.append(1)
        return part_frames(video, 25, 0.5, None, None)

    return open_frames, calls


def pixels(frames):
    return [(frame.number, frame.pts_s, frame.starts_segment, frame.image.tobytes()) for frame in frames]


def test_frames_that_fit_are_decoded_once_and_stay_the_same(opened):
    open_frames, calls = opened
    frames = KeptFrames(open_frames)
    first, second, third = pixels(frames()), pixels(frames()), pixels(frames())
    assert len(calls) == 1
    assert first == second == third == pixels(open_frames())


def test_frames_that_do_not_fit_are_decoded_again(opened):
    open_frames, calls = opened
    num_bytes = sum(frame.picture.num_bytes for frame in open_frames())
    for max_bytes, num_calls in ((num_bytes, 1), (num_bytes - 1, 2)):
        calls.clear()
        frames = KeptFrames(open_frames, max_bytes)
        assert pixels(frames()) == pixels(frames())
        assert len(calls) == num_calls


def test_frames_that_were_not_read_to_the_end_are_decoded_again(opened):
    open_frames, calls = opened
    frames = KeptFrames(open_frames)
    next(frames())
    assert len(pixels(frames())) == 10
    assert len(calls) == 2


def test_rendered_pixels_are_not_kept(opened):
    frames = KeptFrames(opened[0])
    pixels(frames())
    first = list(frames())
    pixels(first)
    assert all("image" in vars(frame.picture) for frame in first)
    assert not any("image" in vars(frame.picture) for frame in frames())
