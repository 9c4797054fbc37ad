"""Appearance of a detected face as a few numbers, measured once so that thresholds can change later.

Everything is measured on luma, 0 to 255, of the face's box clipped to the frame.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.media.boxes import Box

LUMA_SIZE = (17, 16)
"""Width and height of the luma grid."""
_LONGEST_SIDE_PX = 256


class Appearance(NamedTuple):
    """Measurements of one face."""

    sharpness: float
    """Variance of the Laplacian (Pech-Pacheco et al. 2000), with the face scaled down to at most 256 px."""
    brightness: float
    """Mean luma, 0 to 255."""
    luma: NDArray[np.uint8]
    """The face scaled down to a [16, 17] luma grid."""


def measure_appearance(image: NDArray[np.uint8], box: Box) -> Appearance:
    """Measure the face at `box` in a uint8 RGB [H, W, 3] image; a box outside the image counts as black."""
    height, width = image.shape[:2]
    left, right = (min(max(round(side), 0), width) for side in (box.left, box.right))
    top, bottom = (min(max(round(side), 0), height) for side in (box.top, box.bottom))
    inside = image[top:bottom, left:right]
    if inside.size == 0:
        return Appearance(0.0, 0.0, np.zeros(LUMA_SIZE[::-1], np.uint8))
    luma = cv2.cvtColor(np.ascontiguousarray(inside), cv2.COLOR_RGB2GRAY)
    shrink = _LONGEST_SIDE_PX / max(luma.shape)
    if shrink < 1:
        size = tuple(max(1, round(side * shrink)) for side in luma.shape[::-1])
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    grid = cv2.resize(luma, LUMA_SIZE, interpolation=cv2.INTER_AREA)
    return Appearance(
        sharpness=float(cv2.Laplacian(luma, cv2.CV_64F).var()),
        brightness=float(luma.mean()),
        luma=np.asarray(grid, dtype=np.uint8),
    )


def luma_change(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean difference of two luma grids, 0 to 255, ignoring a change of overall brightness."""
    difference = first.astype(np.float64) - second
    return float(np.abs(difference - difference.mean()).mean())
