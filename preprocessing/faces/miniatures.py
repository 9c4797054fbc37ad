"""Miniatures: a video at 48 px and five pictures a second, in which recordings are compared.

Each miniature is the mean luma of the frames of 0.2 s by presentation time, so it hardly depends on encoding,
size and frame rate. N miniatures of H by W pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.media.parts.numbered_frames import NumberedFrame

STEP_S = 0.2
"""Time that one miniature covers; movements that are faster are blurred."""
LONGER_SIDE_PX = 48
"""Longer side of a miniature; an hour takes 23 MB at 16:9."""
_CLOCK_ERROR = 1e-6
"""Times are binary fractions; without it, a frame at 0.6 s would count as before 0.6 s."""


@dataclass(frozen=True)
class Miniatures:
    """The miniatures of a source, or of the part of it that is listed."""

    first_frames: list[int]
    """Number of each one's first frame; it covers the frames up to the next one's first."""
    size: tuple[int, int]
    """Width and height in pixels."""
    data: bytes
    """Luma of all pixels, 0 to 255, a byte each."""

    @property
    def luma(self) -> NDArray[np.uint8]:
        """Return the pixels: [N, H, W]."""
        width, height = self.size
        return np.frombuffer(self.data, np.uint8).reshape(-1, height, width)


class MiniatureMaker:
    """Makes the miniatures of a video in one pass."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._first_frames: list[int] = []
        self._size = (1, 1)
        self._data = bytearray()
        self._step: int | None = None
        self._sum: NDArray[np.float64] = np.zeros((0, 0))
        self._num_frames = 0

    def add(self, frame: NumberedFrame) -> None:
        """Take the next frame; all frames have one size."""
        step = int(frame.pts_s / STEP_S + _CLOCK_ERROR)
        luma = self._shrink(frame)
        if step == self._step and not frame.starts_segment:
            self._sum += luma
            self._num_frames += 1
            return
        self._end_miniature()
        self._step, self._sum, self._num_frames = step, luma, 1
        self._first_frames.append(frame.number)

    def finish(self) -> Miniatures:
        """Return the miniatures of all frames so far; nothing can be added after that."""
        self._end_miniature()
        return Miniatures(self._first_frames, self._size, bytes(self._data))

    def _shrink(self, frame: NumberedFrame) -> NDArray[np.float64]:
        # The small view is the same one that scenes are found in, so it costs nothing here.
        view = frame.picture.small
        height, width = view.shape[:2]
        scale = LONGER_SIDE_PX / max(height, width)
        self._size = (max(1, round(scale * width)), max(1, round(scale * height)))
        small = cv2.resize(view, self._size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float64)

    def _end_miniature(self) -> None:
        if self._num_frames:
            self._data += (self._sum / self._num_frames).round().astype(np.uint8).tobytes()
        self._num_frames = 0
