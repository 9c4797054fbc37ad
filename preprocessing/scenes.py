"""Where one camera shot ends and the next begins, judged by how much the whole picture changes at once."""

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIZE = (32, 18)
CUT_DIFFERENCE = 30.0
"""Mean change of a thumbnail's pixels, of 255, between frames; moving heads and hands change about 5."""


class CutDetector:
    """Remembers the last frame of a stream."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._last: NDArray[np.float32] | None = None

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a new shot begins with this uint8 RGB [H, W, 3] image; never with the first one."""
        thumbnail = cv2.resize(image, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, thumbnail
        return last is not None and float(np.abs(thumbnail - last).mean()) > CUT_DIFFERENCE
