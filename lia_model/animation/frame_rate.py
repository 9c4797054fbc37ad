"""Shows frames at a constant rate, whatever their own times. Pure."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")


def at_constant_rate(
    frames: Iterable[tuple[T, Fraction]], fps: Fraction, last_s: Fraction
) -> Iterator[tuple[T, Fraction]]:
    """Yield for each 1/fps the frame that is on screen in its middle, at least one, and when it is shown.

    So a frame may come several times or not at all, and is never off its own time by more than half a frame.

    Args:
        frames: with the seconds at which they are shown, in order.
        fps: the constant rate.
        last_s: how long the last frame lasts.
    """
    slot = 0
    held: tuple[T, Fraction] | None = None
    for frame, start in frames:
        if held is not None:
            while (slot + Fraction(1, 2)) / fps < start:
                yield held[0], slot / fps
                slot += 1
        held = (frame, start)
    if held is None:
        return
    while slot == 0 or (slot + Fraction(1, 2)) / fps < held[1] + last_s:
        yield held[0], slot / fps
        slot += 1
