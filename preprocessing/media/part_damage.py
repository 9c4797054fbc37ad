"""Counts the damage of a part of a video that is decoded from its beginning. Pure.

A part is judged by the pictures that it is made of: those it shows, and those since the last key frame before
it. What is damaged earlier does not show in it. What is shown later is not looked at, although the last
pictures of the part may refer to it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from preprocessing.media.timeline import Shown


class Decoded(Protocol):
    """What a decoder says of a picture."""

    @property
    def key_frame(self) -> bool:
        """Whether no later picture refers to one before it."""
        ...

    @property
    def is_corrupt(self) -> bool:
        """Whether it is damaged."""
        ...


DecodedPicture = TypeVar("DecodedPicture", bound=Decoded)


@dataclass
class PartDamage:
    """Damaged pictures of a part, by their times in seconds from the video's first picture."""

    start_s: float
    end_s: float
    _first_s: float | None = None
    _keys_s: list[float] = field(default_factory=list)
    _damaged_s: list[float] = field(default_factory=list)

    def note(self, shown: Iterable[Shown[DecodedPicture]]) -> Iterator[Shown[DecodedPicture]]:
        """Take note of all pictures, which are passed on."""
        for one in shown:
            if one.picture.key_frame:
                self._keys_s.append(float(one.start))
            if one.picture.is_corrupt:
                self._damaged_s.append(float(one.start))
            yield one

    def ends_before(self, frame_s: float) -> bool:
        """Return whether the part is over when a frame comes; call it with each frame in turn."""
        if self._first_s is None and frame_s >= self.start_s:
            self._first_s = frame_s
        return frame_s >= self.end_s

    def problems(self) -> list[str]:
        """Return what is wrong with the part, in words as of whole videos; none if it is whole."""
        first_s = self.start_s if self._first_s is None else self._first_s
        begin_s = max((key for key in self._keys_s if key <= first_s), default=0.0)
        num_damaged = sum(begin_s <= damaged < self.end_s for damaged in self._damaged_s)
        return [f"damaged pictures: {num_damaged}"] if num_damaged else []
