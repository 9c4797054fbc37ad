"""How a face looks, as a few numbers: measured when it is found, so that thresholds can change later.

All on luma, 0 to 255, of the face's box cut off at the frame's edge.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.media.boxes import Box

THUMBNAIL_SIZE = (17, 16)
"""Width and height; neighbours in a row are compared, which makes 16 by 16 bits of hash."""
_LONGEST_SIDE_PX = 256


class Appearance(NamedTuple):
    """What a face's pixels say."""

    sharpness: float
    """Variance of the Laplacian (Pech-Pacheco et al. 2000), the face at 256 px at most."""
    brightness: float
    """Mean luma."""
    thumbnail: NDArray[np.uint8]
    """The face in [16, 17] pixels."""


def measure(image: NDArray[np.uint8], box: Box) -> Appearance:
    """Measure what `box` holds in a uint8 RGB [H, W, 3] image; a box outside of it is black."""
    height, width = image.shape[:2]
    left, right = (min(max(round(side), 0), width) for side in (box.left, box.right))
    top, bottom = (min(max(round(side), 0), height) for side in (box.top, box.bottom))
    inside = image[top:bottom, left:right]
    if inside.size == 0:
        return Appearance(0.0, 0.0, np.zeros(THUMBNAIL_SIZE[::-1], np.uint8))
    luma = cv2.cvtColor(np.ascontiguousarray(inside), cv2.COLOR_RGB2GRAY)
    shrink = _LONGEST_SIDE_PX / max(luma.shape)
    if shrink < 1:
        size = tuple(max(1, round(side * shrink)) for side in luma.shape[::-1])
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(luma, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return Appearance(
        sharpness=float(cv2.Laplacian(luma, cv2.CV_64F).var()),
        brightness=float(luma.mean()),
        thumbnail=np.asarray(thumbnail, dtype=np.uint8),
    )


def change(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean difference of two thumbnails, 0 to 255, apart from a change in overall brightness."""
    difference = first.astype(np.float64) - second
    return float(np.abs(difference - difference.mean()).mean())


def perceptual_hash(thumbnail: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return 256 bits: whether each pixel of the thumbnail is darker than its right neighbour."""
    return (thumbnail[:, :-1] < thumbnail[:, 1:]).ravel()
