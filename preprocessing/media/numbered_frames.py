"""A listed part of a video as numbered frames, from which clips are cut."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from preprocessing.media.images import Image
from preprocessing.media.picture import Picture
from preprocessing.media.video_reader import decode


class NumberedFrame(NamedTuple):
    """A frame of a source."""

    number: int
    """Counted from the video's beginning; consecutive, also where the video has a hole."""
    picture: Picture
    pts_s: float
    """Presentation time from the video's beginning."""
    starts_segment: bool = False
    """Whether a hole or a jump of the clock precedes it."""

    @property
    def image(self) -> Image:
        """Return the rendered pixels."""
        return self.picture.image


def part_frames(
    video: Path, fps: int, max_gap_s: float, start_s: float | None, end_s: float | None
) -> Iterator[NumberedFrame]:
    """Yield a video's frames between two times, with their numbers from the video's beginning.

    Args:
        video: any video file.
        fps: most frames a second; a slower video keeps its own.
        max_gap_s: a longer time between two frames starts a new segment.
        start_s: time of the first frame; None starts at the beginning.
        end_s: end of the last frame; None goes to the end.
    """
    segment = 0
    for number, frame in enumerate(decode(video, fps, max_gap_s=Fraction(max_gap_s))):
        if end_s is not None and frame.pts_s >= end_s:
            return
        if frame.pts_s >= (start_s or 0.0):
            yield NumberedFrame(number, frame.picture, frame.pts_s, frame.segment != segment)
        segment = frame.segment
