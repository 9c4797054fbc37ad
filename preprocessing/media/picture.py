"""A picture of a video: all its pixels, and a small view that costs a fraction of them."""

from collections.abc import Callable
from functools import cached_property

import cv2
import numpy as np

from preprocessing.media.images import Image

SMALL_WIDTH_PX = 160
"""Width of the small view; PySceneDetect's command line compares frames at this width."""


class Picture:
    """Pixels that are made when they are first looked at: uint8 RGB [H, W, 3], upright, square pixels.

    Args:
        render: returns all pixels.
        shrink: returns the small view.
        num_bytes: memory taken by what they make the pixels from.
    """

    def __init__(self, render: Callable[[], Image], shrink: Callable[[], Image], num_bytes: int) -> None:
        """Make nothing yet."""
        self._render, self._shrink = render, shrink
        self.num_bytes = num_bytes

    def without_pixels(self) -> "Picture":
        """Return the same picture, whose pixels are made again when they are looked at."""
        return Picture(self._render, self._shrink, self.num_bytes)

    @cached_property
    def image(self) -> Image:
        """All pixels."""
        return self._render()

    @cached_property
    def small(self) -> Image:
        """The picture at a width of `SMALL_WIDTH_PX`; each pixel is the mean of its area."""
        return self._shrink()


def whole_picture(image: Image) -> Picture:
    """Return a picture whose pixels are known."""
    height, width = image.shape[:2]
    size = small_size(width, height)
    return Picture(
        lambda: image,
        lambda: np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8),
        image.nbytes,
    )


def small_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the small view of a picture, in pixels."""
    return SMALL_WIDTH_PX, max(1, round(SMALL_WIDTH_PX * height / width))
