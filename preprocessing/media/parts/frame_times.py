"""Which pictures of a video are frames at a lower rate, and when: `timeline`, for many pictures at a time.

Pure. Times are in ticks of a stream and ascend. All is exact: a rate, and the limit of a hole, are compared
as integers. N pictures, F frames.
"""

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from preprocessing.media.timeline import MAX_GAP_S

_MAX_INT = 1 << 62
_MAX_EXACT_FLOAT = 1 << 53


class TooLargeTimesError(ValueError):
    """The times cannot be compared exactly as integers of 64 bits."""


def frame_times(
    ticks: NDArray[np.int64],
    time_base: Fraction,
    usual: Fraction,
    fps: Fraction,
    max_gap: Fraction = MAX_GAP_S,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return place, start and segment of each frame, as `thin_out` of `place_pictures` gives them.

    Args:
        ticks: presentation times of the pictures, ascending; two may be equal: [N].
        time_base: seconds of one tick.
        usual: usual duration of a picture, in seconds.
        fps: most frames a second.
        max_gap: longest time between two starts within a segment, if pictures do not usually last longer.

    Returns:
        Each frame's place among the pictures, its presentation time in seconds from the first picture, and
        its segment, counted from 0: [F], [F], [F].

    Raises:
        TooLargeTimesError: times or rates are too large for exact arithmetic.
    """
    places = np.flatnonzero(np.diff(ticks, prepend=ticks[:1] - 1) > 0)
    starts = ticks[places] - ticks[0]
    steps = np.diff(starts)
    is_first = np.concatenate([[True], steps > floor(max(max_gap, usual * 3 / 2) / time_base)])
    segments = np.cumsum(is_first) - 1
    is_last = np.concatenate([is_first[1:], [True]])
    # Elapsed slots of 1/fps are multiples of 1/unit, also a usual duration after the last start of a segment.
    slots_per_tick, usual_slots = time_base * fps, usual * fps
    unit = 2 * slots_per_tick.denominator * usual_slots.denominator
    factor, usual_units = int(slots_per_tick * unit), int(usual_slots * unit)
    largest = max(int(starts[-1]), 1)
    if largest * factor + usual_units + unit >= _MAX_INT or largest * time_base.numerator >= _MAX_EXACT_FLOAT:
        raise TooLargeTimesError("times or rates are too large")
    lasting = np.concatenate([steps, [0]])
    elapsed = (starts - starts[is_first][segments]) * factor + np.where(
        is_last, usual_units, lasting * factor
    )
    # The first slot whose middle comes at or after the picture's end, as in `thin_out`.
    num_begun = np.maximum(0, -((unit // 2 - elapsed) // unit))
    num_before = np.where(is_first, 0, np.concatenate([[0], num_begun[:-1]]))
    is_frame = num_begun > num_before
    # A segment too short for any slot yields its first picture.
    is_frame |= is_first & (np.bincount(segments, is_frame)[segments] == 0)
    starts_s = (starts[is_frame] * time_base.numerator) / time_base.denominator
    return places[is_frame], starts_s, segments[is_frame]
