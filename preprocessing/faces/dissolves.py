"""Dissolves: where one shot fades into another, or to black, found in the miniatures of a video. Pure.

During a dissolve, each picture is a mixture of the one before it and the one after it, and the share of the
latter grows evenly. Movements of people or the camera give no such mixtures, and a change of light leaves the
two pictures alike. (A hard cut changes the share in one step; `scenes` finds those.)

Thresholds: no dissolve is found in 26 talking heads and three copies of each, nor in 304 pans over pictures
of them. Of 102 dissolves between two of them, 96 % or 97 % are found if they last 0.8 to 1 s, 95 % at 1.5 s,
87 % at 2 s and 75 % at 0.5 s.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.miniatures import Miniatures

WINDOWS = (3, 4, 5, 6)
"""Steps of 0.2 s between the two pictures that are compared with those between them."""
MAX_LIKENESS = 0.7
"""Maximum correlation of the two pictures; above it, the shot may be the same."""
MAX_SHIFTED_LIKENESS = 0.8
"""Maximum correlation of the middle of the earlier picture with any place in the later one. While the camera
pans slowly over large shapes, the pictures between are nearly mixtures too."""
MAX_RESIDUAL = 0.25
"""Maximum mean distance of the pictures between from mixtures, over the distance of the two pictures."""
MAX_UNEVENNESS = 0.15
"""Maximum deviation of the share of the later picture from even growth."""
MIN_DIFFERENCE = 8.0
"""Minimum root-mean-square difference of the two pictures, in levels of luma."""


def find_dissolves(miniatures: Miniatures, end_frame: int) -> list[range]:
    """Return the numbers of the frames of each dissolve, in order and disjoint.

    They begin and end up to 0.8 s outside the visible mixture.

    Args:
        miniatures: the whole part of the video.
        end_frame: number of the first frame after it.
    """
    luma = miniatures.luma.astype(np.float32)
    first_frames = [*miniatures.first_frames, end_frame]
    is_mixed = np.zeros(len(luma), np.bool_)
    for start in range(len(luma)):
        for window in WINDOWS:
            if start + window < len(luma) and _is_dissolve(luma[start : start + window + 1]):
                # One more on either side, since the ends of a long dissolve are hardly mixed.
                is_mixed[max(start - 1, 0) : start + window + 2] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_mixed, [False]])))
    return [range(first_frames[start], first_frames[end]) for start, end in pairwise(edges)][::2]


def _is_dissolve(pictures: NDArray[np.float32]) -> bool:
    """Return whether the first picture becomes the last one evenly: [N, H, W]."""
    before, after = pictures[0], pictures[-1]
    change = after - before
    size = float((change**2).sum())
    if size < MIN_DIFFERENCE**2 * change.size or _correlation(before, after) > MAX_LIKENESS:
        return False
    between = pictures[1:-1] - before
    shares = (between * change).sum(axis=(1, 2)) / size
    evenly = np.arange(1, len(shares) + 1) / (len(shares) + 1)
    if np.abs(shares - evenly).max() > MAX_UNEVENNESS:
        return False
    residuals = between - shares[:, None, None] * change
    if float(np.sqrt((residuals**2).sum(axis=(1, 2)) / size).mean()) > MAX_RESIDUAL:
        return False
    return _shifted_correlation(before, after) <= MAX_SHIFTED_LIKENESS


def _shifted_correlation(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the correlation of the middle of `before` with the place in `after` that is most like it."""
    if min(before.std(), after.std()) < 1:
        # A black picture has a correlation of 1 with everything, according to OpenCV.
        return 0.0
    height, width = before.shape
    middle = before[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(cv2.matchTemplate(after, np.ascontiguousarray(middle), cv2.TM_CCOEFF_NORMED).max())


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    # A black picture is like no other.
    return float((one * other).sum() / np.sqrt(max(float((one**2).sum() * (other**2).sum()), 1.0)))
