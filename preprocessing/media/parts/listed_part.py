"""A listed part of a video as numbered frames, from which clips are cut."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

from preprocessing.media.animated_pictures import is_animated_picture
from preprocessing.media.part_damage import PartDamage
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.parts.part_decoding import OtherPicturesError, decode_part, find_part
from preprocessing.media.video_reader import decode

logger = logging.getLogger(__name__)

NEAR_S = 10.0
"""Parts that start earlier are decoded from the beginning: key frames are about as far apart."""


def part_frames(
    video: Path, fps: int, max_gap_s: float, start_s: float | None, end_s: float | None
) -> Iterator[NumberedFrame]:
    """Yield a video's frames between two times, with their numbers from the video's beginning.

    A part is decoded from the last key frame before it, or from the beginning where the file does not allow
    that; both give the same frames. Damaged pictures since that key frame are an error. Data before it that
    cannot be decoded is one only in the latter case.

    Args:
        video: any video file.
        fps: most frames a second; a slower video keeps its own.
        max_gap_s: a longer time between two frames starts a new segment.
        start_s: time of the first frame; None starts at the beginning.
        end_s: end of the last frame; None goes to the end.

    Raises:
        UnreadableVideoError: the file is not a video, or is damaged or truncated where it is decoded.
    """
    num_given = 0
    if start_s is not None and start_s >= NEAR_S and not (video.is_file() and is_animated_picture(video)):
        part = find_part(video, Fraction(fps), Fraction(max_gap_s), start_s, end_s)
        if part is not None:
            try:
                for frame in decode_part(video, part):
                    yield frame
                    num_given += 1
                return
            except OtherPicturesError as reason:
                logger.debug("%s is decoded from its beginning: %s", video, reason)
    yield from islice(_from_beginning(video, fps, max_gap_s, start_s, end_s), num_given, None)


def _from_beginning(
    video: Path, fps: int, max_gap_s: float, start_s: float | None, end_s: float | None
) -> Iterator[NumberedFrame]:
    segment = 0
    # A damaged part is refused as a damaged video is, and both ways of decoding it end here.
    damage = None if end_s is None else PartDamage(start_s or 0.0, end_s)
    for number, frame in enumerate(decode(video, fps, max_gap_s=Fraction(max_gap_s), damage=damage)):
        if end_s is not None and frame.pts_s >= end_s:
            return
        if frame.pts_s >= (start_s or 0.0):
            yield NumberedFrame(number, frame.picture, frame.pts_s, frame.segment != segment)
        segment = frame.segment
