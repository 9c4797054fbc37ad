"""Frames of a source, numbered from the video's beginning."""

from typing import NamedTuple

from preprocessing.media.images import Image
from preprocessing.media.picture import Picture


class NumberedFrame(NamedTuple):
    """A frame of a source."""

    number: int
    """Counted from the video's beginning; consecutive, also where the video has a hole."""
    picture: Picture
    pts_s: float
    """Presentation time from the video's beginning."""
    starts_segment: bool = False
    """Whether a hole or a jump of the clock precedes it."""

    @property
    def image(self) -> Image:
        """Return the rendered pixels."""
        return self.picture.image
