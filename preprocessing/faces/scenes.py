"""Shot boundaries, with PySceneDetect; the only file that imports it."""

import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ContentDetector


class CutDetector:
    """Detects hard cuts by the change of hue, saturation and brightness between consecutive frames."""

    def __init__(self) -> None:
        """Start before the first frame."""
        # No minimum scene length: a clip must not cross either of two cuts in quick succession.
        self._detector = ContentDetector(min_scene_len=0)
        self._number = 0

    def is_cut(self, small: NDArray[np.uint8]) -> bool:
        """Return whether a new shot begins at this small view of a picture; False for the first one."""
        # The detector uses the time code only to label the cut, so any frame rate will do.
        time = FrameTimecode(self._number, 25.0)
        self._number += 1
        return bool(self._detector.process_frame(time, small[:, :, ::-1]))
