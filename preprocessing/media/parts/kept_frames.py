"""Frames of a part that are read twice, for detection and for cropping, and decoded once if memory allows."""

from collections.abc import Callable, Iterator

from preprocessing.media.parts.numbered_frames import NumberedFrame

KEPT_BYTES = 400_000_000
"""Decoded frames kept by one process: 46 s of 640 by 360 pixels at 25 frames a second, 5 s of 1080 lines."""


class KeptFrames:
    """Call it to read the frames; once they were read to the end, they come from memory if they fit.

    Args:
        open_frames: decodes the frames.
        max_bytes: memory for decoded frames; of a longer part, none is kept.
    """

    def __init__(
        self, open_frames: Callable[[], Iterator[NumberedFrame]], max_bytes: int = KEPT_BYTES
    ) -> None:
        """Decode nothing yet."""
        self._open, self._max_bytes = open_frames, max_bytes
        self._kept: list[NumberedFrame] | None = None

    def __call__(self) -> Iterator[NumberedFrame]:
        """Return the frames, whose pixels are made when they are looked at."""
        if self._kept is None:
            return self._decode()
        # Rendered pixels take more memory than the decoded frame, so they must not pile up.
        return (frame._replace(picture=frame.picture.without_pixels()) for frame in self._kept)

    def _decode(self) -> Iterator[NumberedFrame]:
        kept: list[NumberedFrame] | None = []
        num_bytes = 0
        for frame in self._open():
            num_bytes += frame.picture.num_bytes
            if num_bytes > self._max_bytes:
                kept = None
            if kept is not None:
                kept.append(frame._replace(picture=frame.picture.without_pixels()))
            yield frame
        self._kept = kept
