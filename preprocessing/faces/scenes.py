"""Where one camera shot ends and the next begins, by PySceneDetect; the only file that imports it."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ContentDetector

_WIDTH_PX = 160
"""Frames are compared at this width, as PySceneDetect's own programs shrink them."""


class CutDetector:
    """Finds hard cuts by the change of hue, saturation and brightness from one frame to the next."""

    def __init__(self) -> None:
        """Start before the first frame."""
        # No scene is too short: two cuts in quick succession are two cuts, which a clip must not cross.
        self._detector = ContentDetector(min_scene_len=0)
        self._number = 0

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a new shot begins with this uint8 RGB [H, W, 3] image; never with the first one."""
        height, width = image.shape[:2]
        size = (_WIDTH_PX, max(1, round(_WIDTH_PX * height / width)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # It counts frames only to name the cut; which rate they have does not matter.
        time = FrameTimecode(self._number, 25.0)
        self._number += 1
        return bool(self._detector.process_frame(time, small[:, :, ::-1]))
