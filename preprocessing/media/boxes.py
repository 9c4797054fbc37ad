"""Boxes in pixels: left, top, right, bottom; right and bottom exclusive. Pure functions.

A single box is a `Box`; a sequence of boxes is a float array of shape [N, 4].
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


class Box(NamedTuple):
    """One rectangle in pixels of the (rotated) frame."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Return the horizontal side in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return the vertical side in pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """Return (x, y) of the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def contains(self, x: float, y: float) -> bool:
        """Return whether the point lies inside; right and bottom edges do not."""
        return bool(self.left <= x < self.right and self.top <= y < self.bottom)


def iou(first: Box, second: Box) -> float:
    """Return the intersection over the union of two boxes, 0 where both are empty."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    intersection = max(width, 0.0) * max(height, 0.0)
    union = first.width * first.height + second.width * second.height - intersection
    return intersection / union if union > 0 else 0.0


def union(boxes: Boxes) -> Box:
    """Return the smallest box around all N boxes.

    Raises:
        ValueError: there is no box at all.
    """
    if len(boxes) == 0:
        raise ValueError("got no boxes; a union needs at least one; detect a face first")
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def square_around(box: Box, scale: float) -> Box:
    """Return the square of whole pixels with the box's centre and `scale` times its longer side."""
    side = round(scale * max(box.width, box.height))
    centre_x, centre_y = box.centre
    left, top = round(centre_x - side / 2), round(centre_y - side / 2)
    return Box(left, top, left + side, top + side)


def middle_square(frame_size: tuple[int, int]) -> Box:
    """Return the largest square of whole pixels in the middle of a frame of (width, height) pixels."""
    width, height = frame_size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def is_inside(box: Box, frame_size: tuple[int, int]) -> bool:
    """Return whether the box lies wholly in a frame of (width, height) pixels."""
    width, height = frame_size
    return box.left >= 0 and box.top >= 0 and box.right <= width and box.bottom <= height


def scale_box(box: Box, from_size: tuple[int, int], to_size: tuple[int, int]) -> Box:
    """Return the box of a frame of (width, height) `from_size` in the same frame at `to_size`."""
    x, y = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return Box(box.left * x, box.top * y, box.right * x, box.bottom * y)
