"""Shot boundaries, with PySceneDetect; the only file that imports it."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ContentDetector

_WIDTH_PX = 160
"""Frames are compared at this width, as in PySceneDetect's own command line."""


class CutDetector:
    """Detects hard cuts by the change of hue, saturation and brightness between consecutive frames."""

    def __init__(self) -> None:
        """Start before the first frame."""
        # No minimum scene length: a clip must not cross either of two cuts in quick succession.
        self._detector = ContentDetector(min_scene_len=0)
        self._number = 0

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a new shot begins at this uint8 RGB [H, W, 3] image; False for the first image."""
        height, width = image.shape[:2]
        size = (_WIDTH_PX, max(1, round(_WIDTH_PX * height / width)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # The detector uses the time code only to label the cut, so any frame rate will do.
        time = FrameTimecode(self._number, 25.0)
        self._number += 1
        return bool(self._detector.process_frame(time, small[:, :, ::-1]))
