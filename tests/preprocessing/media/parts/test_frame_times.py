import random
from fractions import Fraction

import numpy as np
import pytest

from preprocessing.media.parts.frame_times import TooLargeTimesError, frame_times
from preprocessing.media.timeline import place_pictures, thin_out

TIME_BASES = [
    Fraction(1, 24000),
    Fraction(1, 1000),
    Fraction(1, 90000),
    Fraction(1, 25),
    Fraction(1001, 30000),
]
RATES = [Fraction(25), Fraction(12), Fraction(30000, 1001), Fraction(1, 3), Fraction(1000)]


def random_ticks(draw, time_base, usual):
    """Return ascending times with pictures that coincide, come early or late, and leave holes."""
    ticks, now = [], draw.randrange(-1000, 100000)
    for _ in range(draw.randrange(1, 60)):
        ticks.append(now)
        step = draw.choice(
            (
                usual,
                usual,
                usual,
                usual / 3,
                2 * usual,
                Fraction(0),
                Fraction(1, 2),
                Fraction(draw.randrange(4)),
            )
        )
        now += round(step / time_base)
    return ticks


def one_by_one(ticks, time_base, usual, fps, max_gap):
    times = ((place, time * time_base) for place, time in enumerate(ticks))
    shown = thin_out(place_pictures(times, usual, max_gap), fps)
    return [(one.picture, float(one.start), one.segment) for one in shown]


def test_frames_are_those_of_one_picture_at_a_time():
    draw = random.Random(0)
    for _ in range(1000):
        time_base, fps = draw.choice(TIME_BASES), draw.choice(RATES)
        usual = 1 / draw.choice(
            (Fraction(25), Fraction(24000, 1001), Fraction(50), Fraction(1), Fraction(59, 7))
        )
        max_gap = draw.choice((Fraction(1, 2), Fraction(0.3), Fraction(2)))
        ticks = random_ticks(draw, time_base, usual)
        found = frame_times(np.array(ticks, np.int64), time_base, usual, fps, max_gap)
        facts = [tuple(each.tolist() for each in found)]
        assert list(zip(*facts[0], strict=True)) == one_by_one(ticks, time_base, usual, fps, max_gap)


def test_times_that_overflow_are_refused():
    ticks = np.array([0, 1 << 60], np.int64)
    with pytest.raises(TooLargeTimesError):
        frame_times(ticks, Fraction(1, 90000), Fraction(1, 25), Fraction(25))
