from fractions import Fraction

import numpy as np
import pytest

from lia_model.animation.frame_rate import at_constant_rate

STEPS = [np.random.default_rng(seed).integers(1, 400, 1 + seed).tolist() for seed in range(20)]
"""Milliseconds from frame to frame."""


def shown(steps, fps):
    starts = [Fraction(sum(steps[:number]), 1000) for number in range(len(steps))]
    frames = [(start, start) for start in starts]
    return list(at_constant_rate(frames, Fraction(fps), Fraction(steps[-1], 1000))), starts


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("fps", [10, 25, Fraction(30000, 1001), 60])
def test_each_slot_shows_the_frame_of_its_middle(steps, fps):
    slots, starts = shown(steps, fps)
    assert [start for _, start in slots] == [number / Fraction(fps) for number in range(len(slots))]
    for frame, start in slots:
        middle = start + Fraction(1, 2) / fps
        assert frame == max((one for one in starts if one <= middle), default=starts[0])


@pytest.mark.parametrize("steps", STEPS)
def test_the_result_lasts_as_long_as_the_frames(steps):
    slots, _ = shown(steps, 25)
    assert abs(Fraction(len(slots), 25) - Fraction(sum(steps), 1000)) <= Fraction(1, 25)


@pytest.mark.parametrize("fps", [24, 25, Fraction(30000, 1001)])
def test_frames_at_the_rate_itself_come_once_each(fps):
    frames = [(number, number / Fraction(fps)) for number in range(50)]
    assert list(at_constant_rate(frames, Fraction(fps), 1 / Fraction(fps))) == frames


def test_no_frames_give_none():
    assert list(at_constant_rate([], Fraction(25), Fraction(1, 25))) == []
