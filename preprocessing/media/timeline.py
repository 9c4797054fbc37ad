"""When each picture of a video is on screen: segments, holes, and thinning to a lower rate.

Times are presentation times in seconds from the first picture. A picture lasts until the next one starts. A
hole, or a jump of the clock, ends a segment: the picture before it lasts as long as usual, and nothing fills
the hole. After a jump backwards, the clock goes on from where it was.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median_low
from typing import Generic, NamedTuple, TypeVar

MAX_GAP_S = Fraction(1, 2)
"""Longest time between the starts of two pictures of one segment, unless pictures usually last longer."""
_USUAL_FPS = Fraction(25)
NUM_SAMPLED = 120
"""Pictures from whose times the usual rate is taken."""
_SIMILAR = Fraction(1, 10)
"""How far a header's rate may be off the usual one, as a share, to be taken."""

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Shown(Generic[Picture]):
    """A picture and when it is on screen."""

    picture: Picture
    start: Fraction
    end: Fraction
    segment: int
    """Counted from 0; pictures of one segment follow each other without a hole."""


class Segment(NamedTuple):
    """A stretch of video without a hole, in seconds from the first picture."""

    start: Fraction
    end: Fraction


def place_pictures(
    pictures: Iterable[tuple[Picture, Fraction | None]],
    usual: Fraction,
    max_gap: Fraction = MAX_GAP_S,
) -> Iterator[Shown[Picture]]:
    """Yield each picture with its time on screen; one that starts together with its predecessor is left out.

    Args:
        pictures: with their presentation times in order; None is one usual duration after the predecessor.
        usual: usual duration of a picture.
        max_gap: longest time between two starts within a segment, if pictures do not usually last longer.
    """
    max_gap = max(max_gap, usual * 3 / 2)
    origin: Fraction | None = None
    waiting: tuple[Picture, Fraction] | None = None
    segment = 0
    for picture, time in pictures:
        if origin is None:
            origin = time or Fraction(0)
        if waiting is None:
            waiting = (picture, Fraction(0))
            continue
        last, started = waiting
        start = started + usual if time is None else time - origin
        if start < started - usual / 2:
            # The clock was set back: it goes on one usual duration after the last picture.
            origin, start = (time or Fraction(0)) - started - usual, started + usual
            yield Shown(last, started, start, segment)
            segment += 1
        elif start <= started:
            continue
        elif start - started > max_gap:
            yield Shown(last, started, started + usual, segment)
            segment += 1
        else:
            yield Shown(last, started, start, segment)
        waiting = (picture, start)
    if waiting is not None:
        yield Shown(waiting[0], waiting[1], waiting[1] + usual, segment)


def thin_out(shown: Iterable[Shown[Picture]], fps: Fraction) -> Iterator[Shown[Picture]]:
    """Yield at most `fps` pictures a second: those on screen in the middle of each 1/fps of their segment.

    A picture is never repeated, so a slower video keeps its own pictures. Each segment yields at least one.
    """
    segment, origin, slot = -1, Fraction(0), 0
    only: Shown[Picture] | None = None
    for one in shown:
        if one.segment != segment:
            if only is not None:
                yield only
            segment, origin, slot, only = one.segment, one.start, 0, one
        # The first slot whose middle comes at or after the picture's end.
        num_begun = max(0, -((-(one.end - origin) * fps + Fraction(1, 2)) // 1))
        if num_begun > slot:
            yield one
            slot, only = num_begun, None
    if only is not None:
        yield only


def find_segments(shown: Iterable[Shown[Picture]]) -> list[Segment]:
    """Return the stretches without a hole."""
    found: list[Segment] = []
    current = -1
    for one in shown:
        if one.segment == current:
            found[-1] = found[-1]._replace(end=one.end)
        else:
            found.append(Segment(one.start, one.end))
            current = one.segment
    return found


def time_without_holes(time: Fraction, segments: Sequence[Segment]) -> Fraction | None:
    """Return a time as if the holes between the segments were cut out; None for a time in a hole."""
    if len(segments) <= 1:
        return time
    passed = Fraction(0)
    for segment in segments:
        if segment.start <= time < segment.end:
            return passed + time - segment.start
        passed += segment.end - segment.start
    return None


def in_order_of_display(packets: Iterable[tuple[Fraction | None, int | None]]) -> list[Fraction | None]:
    """Return the presentation times of pictures in the order in which they are shown.

    Args:
        packets: presentation and decoding time of each picture, in the order of decoding; decoding times
            decrease only where the clock is set back.
    """
    runs: list[list[Fraction | None]] = [[]]
    last: int | None = None
    for time, decoded_at in packets:
        if last is not None and decoded_at is not None and decoded_at < last:
            runs.append([])
        last = decoded_at
        runs[-1].append(time)
    return [time for run in runs for time in _sorted_if_known(run)]


def _sorted_if_known(times: list[Fraction | None]) -> Sequence[Fraction | None]:
    known = [time for time in times if time is not None]
    return sorted(known) if len(known) == len(times) else times


def is_regular(shown: Sequence[Shown[Picture]], segments: Sequence[Segment], fps: Fraction) -> bool:
    """Return whether each picture starts within half a picture of its place at a constant rate."""
    number, current = 0, -1
    for one in shown:
        number, current = (0, one.segment) if one.segment != current else (number + 1, current)
        if abs((one.start - segments[current].start) * fps - number) > Fraction(1, 2):
            return False
    return True


def usual_fps(claimed: Fraction | None, times: Sequence[Fraction | None]) -> Fraction:
    """Return the rate that a header claims, or where pictures come at another one, theirs.

    Args:
        claimed: pictures a second; None is 25.
        times: presentation times in order of display, in seconds; the first `NUM_SAMPLED` count.
    """
    known = [time for time in times[:NUM_SAMPLED] if time is not None]
    steps = [after - before for before, after in pairwise(known) if after > before]
    claimed = claimed or _USUAL_FPS
    if not steps:
        return claimed
    usual = median_low(steps)
    return claimed if abs(claimed * usual - 1) <= _SIMILAR else 1 / usual
