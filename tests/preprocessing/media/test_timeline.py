from fractions import Fraction
from itertools import pairwise

import pytest

from preprocessing.media.timeline import (
    Segment,
    find_segments,
    place_pictures,
    thin_out,
    time_without_holes,
    usual_fps,
)

USUAL = Fraction(1, 25)


def at(*times):
    """Pictures that are their own numbers."""
    return [(number, None if time is None else Fraction(str(time))) for number, time in enumerate(times)]


def place(*times, usual=USUAL):
    return list(place_pictures(at(*times), usual))


def regular(num, fps, start=0):
    return place(*(start + number / fps for number in range(num)), usual=Fraction(1, fps))


def test_a_picture_lasts_until_the_next_starts_and_the_last_one_as_long_as_usual():
    shown = place(3, 3.04, 3.3)
    assert [float(one.start) for one in shown] == pytest.approx([0, 0.04, 0.3])
    assert all(one.end == other.start for one, other in pairwise(shown))
    assert shown[-1].end - shown[-1].start == USUAL


def test_a_hole_ends_a_segment_and_is_not_filled():
    shown = place(0, 0.04, 600, 600.04)
    assert [one.segment for one in shown] == [0, 0, 1, 1]
    assert find_segments(shown) == [
        Segment(Fraction(0), Fraction("0.08")),
        Segment(Fraction(600), Fraction("600.08")),
    ]


def test_a_clock_set_back_goes_on_from_where_it_was():
    shown = place(5, 5.04, 1, 1.04)
    assert [float(one.start) for one in shown] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert [one.segment for one in shown] == [0, 0, 1, 1]


def test_pauses_of_a_slow_video_are_no_holes():
    assert {one.segment for one in regular(6, 1)} == {0}
    assert len(find_segments(place(0, 0.04, 0.5, 0.54))) == 1
    assert len(find_segments(place(0, 0.04, 0.6, 0.64))) == 2


def test_a_picture_without_a_time_follows_its_predecessor():
    assert [float(one.start) for one in place(None, None, None)] == pytest.approx([0, 0.04, 0.08])


def test_a_picture_that_starts_together_with_its_predecessor_is_left_out():
    assert [one.picture for one in place(0, 0.04, 0.04, 0.08)] == [0, 1, 3]


@pytest.mark.parametrize("fps", [1, 10, 24, 25])
def test_a_slower_video_keeps_its_own_pictures(fps):
    shown = regular(3 * fps, fps)
    assert list(thin_out(shown, Fraction(25))) == shown


@pytest.mark.parametrize("fps", [26, 30, 50, 60, 120])
def test_a_faster_video_is_thinned_evenly(fps):
    shown = list(thin_out(regular(4 * fps, fps), Fraction(25)))
    assert len(shown) == 100
    steps = [other.start - one.start for one, other in pairwise(shown)]
    assert max(abs(step - USUAL) for step in steps) < Fraction(1, fps)
    assert all(abs(one.start - number * USUAL) <= USUAL for number, one in enumerate(shown))


def test_each_segment_starts_its_own_slots_and_yields_a_picture():
    shown = list(thin_out(place(0, 10, 20, 20.01), Fraction(25)))
    # The last two share a slot, in whose middle, at 20.02 s, the second one is on screen.
    assert [(one.picture, one.segment) for one in shown] == [(0, 0), (1, 1), (3, 2)]


def test_holes_take_no_time():
    segments = [
        Segment(Fraction(0), Fraction(2)),
        Segment(Fraction(10), Fraction(11)),
        Segment(Fraction(20), Fraction(22)),
    ]
    times = [time_without_holes(Fraction(time), segments) for time in (0, 1, 2, 5, 10, 20, 21, 22)]
    assert times == [0, 1, None, None, 2, 3, 4, None]
    assert [time_without_holes(Fraction(time), segments[:1]) for time in (1, 5)] == [1, 5]


def test_the_pictures_of_a_video_without_its_holes_follow_each_other():
    shown = place(0, 0.04, 5, 5.04, 9)
    placed = [time_without_holes(one.start, find_segments(shown)) for one in shown]
    assert placed == [number * USUAL for number in range(5)]


@pytest.mark.parametrize(
    ("claimed", "step", "usual"),
    [
        (30, Fraction(1, 30), 30),
        (30, Fraction(1, 31), 30),
        (90_000, Fraction(1, 25), 25),
        (None, Fraction(1, 10), 10),
    ],
)
def test_a_claimed_rate_counts_unless_pictures_come_at_another(claimed, step, usual):
    times = [number * step for number in range(20)]
    assert usual_fps(claimed and Fraction(claimed), times) == usual


def test_without_times_the_claim_counts_or_25():
    assert usual_fps(Fraction(24), [None, Fraction(0)]) == 24
    assert usual_fps(None, []) == 25
