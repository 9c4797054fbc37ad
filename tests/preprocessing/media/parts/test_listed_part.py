from itertools import pairwise

import pytest

from preprocessing.media.parts.listed_part import part_frames

LEVELS = list(range(20, 220, 10))


@pytest.fixture
def video(tmp_path, make_video):
    """Twenty frames at 25 a second, with a hole of 10 s in the middle."""
    return make_video(tmp_path / "v.mp4", LEVELS, [n * 0.04 + 10 * (n >= 10) for n in range(20)])


def test_numbers_count_on_over_a_hole_and_times_do_not(video):
    frames = list(part_frames(video, 25, 0.5, None, None))
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.number for frame in frames if frame.starts_segment] == [10]
    gaps = [after.pts_s - before.pts_s for before, after in pairwise(frames)]
    assert max(gaps) == pytest.approx(10.04, abs=1e-3)


def test_a_longer_gap_may_be_allowed(video):
    assert not any(frame.starts_segment for frame in part_frames(video, 25, 20.0, None, None))


def test_a_part_has_the_frames_between_its_times_with_their_numbers_in_the_video(video):
    numbers = [frame.number for frame in part_frames(video, 25, 0.5, 0.2, 10.5)]
    assert numbers == list(range(5, 13))


def test_numbers_do_not_depend_on_the_part(video):
    whole = {frame.number: frame.pts_s for frame in part_frames(video, 10, 0.5, None, None)}
    part = {frame.number: frame.pts_s for frame in part_frames(video, 10, 0.5, 0.3, None)}
    assert part.items() <= whole.items()
    assert 0 < len(part) < len(whole)
