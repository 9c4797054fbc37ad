"""Decodes a part of a video from the nearest entry point before it, exactly as from the beginning.

The index of the pictures says which frames the part has and what numbers and times they have. While decoding,
every picture is compared with it, and one that differs ends the attempt, since the index may be wrong then.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, count, pairwise
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocessing.media.containers.packets import open_input, time_of, video_stream
from preprocessing.media.parts.frame_times import TooLargeTimesError, frame_times
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.parts.picture_index import NoIndexError, PictureIndex, read_index
from preprocessing.media.rendering import FrameRenderer, deinterlace

logger = logging.getLogger(__name__)


class OtherPicturesError(Exception):
    """A file was decoded from its middle, and shows other pictures than its index announces."""


@dataclass(frozen=True)
class Timeline:
    """The frames of a video at a wanted rate. N frames."""

    index: PictureIndex
    pictures: NDArray[np.int64]
    """Each frame's place among all pictures, in the order of display: [N]."""
    starts_s: NDArray[np.float64]
    """Presentation times from the video's beginning: [N]."""
    segments: NDArray[np.int64]
    """Segment of each frame, counted from 0: [N]."""
    first_size: tuple[int, int]
    """Width and height of the first frame as stored; all frames are rendered at its size."""


@dataclass(frozen=True)
class Part:
    """The frames of a part that can be decoded from the middle of the file."""

    timeline: Timeline
    first: int
    """Number of the first frame."""
    end: int
    """Number of the first frame after the part."""
    entry: int
    """Number of the packet that decoding begins with."""

    @property
    def entry_picture(self) -> int:
        """Return the place of the entry point among all pictures, in the order of display."""
        index = self.timeline.index
        return int(np.searchsorted(index.shown, index.pts[self.entry]))


def find_part(
    path: Path, fps: Fraction, max_gap_s: Fraction, start_s: float, end_s: float | None
) -> Part | None:
    """Return how a part can be decoded from the middle of the file; None if only from its beginning.

    Args:
        path: any video file.
        fps: most frames a second.
        max_gap_s: a longer time between two frames starts a new segment.
        start_s: time of the first frame.
        end_s: end of the last frame; None goes to the end.

    Raises:
        UnreadableVideoError: the file does not exist or is no video.
    """
    status = path.stat()
    timeline = _timeline(path, (status.st_mtime_ns, status.st_size), fps, max_gap_s)
    if timeline is None:
        return None
    first = int(np.searchsorted(timeline.starts_s, start_s))
    end = len(timeline.starts_s)
    if end_s is not None:
        end = int(np.searchsorted(timeline.starts_s, end_s))
    # At the end of the video all of the file counts: only decoding it tells whether it is whole.
    if first >= end or end == len(timeline.starts_s):
        return None
    entry = timeline.index.entry_before(int(timeline.pictures[first]))
    return None if entry is None else Part(timeline, first, end, entry)


def decode_part(path: Path, part: Part) -> Iterator[NumberedFrame]:
    """Yield the frames of a part.

    Raises:
        OtherPicturesError: decoding shows other pictures than announced; the frames so far are right.
    """
    timeline = part.timeline
    wanted = timeline.pictures[part.first : part.end].tolist()
    num_given = 0
    try:
        with open_input(path) as container:
            stream = video_stream(container, path)
            renderer = FrameRenderer(stream.sample_aspect_ratio, timeline.first_size)
            frames = zip(count(part.entry_picture), deinterlace(_checked_frames(container, stream, part)))
            # A frame is given once the next one is checked, since that one says how long it is shown.
            for (picture, frame), _ in pairwise(chain(frames, [(-1, None)])):
                if num_given < len(wanted) and picture == wanted[num_given]:
                    assert frame is not None
                    yield _numbered(part, part.first + num_given, renderer, frame)
                    num_given += 1
                if num_given == len(wanted):
                    return
    except FFmpegError as error:
        raise OtherPicturesError(str(error)) from error
    raise OtherPicturesError("the last pictures are missing")


def _numbered(part: Part, number: int, renderer: FrameRenderer, frame: VideoFrame) -> NumberedFrame:
    timeline = part.timeline
    if time_of(frame) != int(timeline.index.shown[timeline.pictures[number]]) * timeline.index.time_base:
        raise OtherPicturesError("deinterlacing changed a time")
    before = timeline.segments[number - 1] if number else 0
    return NumberedFrame(
        number,
        renderer.picture(frame),
        float(timeline.starts_s[number]),
        bool(timeline.segments[number] != before),
    )


def _checked_frames(container: InputContainer, stream: VideoStream, part: Part) -> Iterator[VideoFrame]:
    """Yield the frames from the entry point's on, each compared with the index."""
    index, picture = part.timeline.index, part.entry_picture
    entry_pts = int(index.pts[part.entry])
    begins_interlaced: bool | None = None
    for packet in _checked_packets(container, stream, index, part.entry):
        for frame in packet.decode():
            if frame.pts is not None and frame.pts < entry_pts:
                # It refers to pictures before the entry point.
                continue
            if frame.is_corrupt or picture >= len(index.shown) or frame.pts != index.shown[picture]:
                raise OtherPicturesError("the decoder shows another picture")
            begins_interlaced = frame.interlaced_frame if begins_interlaced is None else begins_interlaced
            if frame.interlaced_frame and not (begins_interlaced and index.is_interlaced):
                # From the beginning of the file, it may be deinterlaced with the one before it.
                raise OtherPicturesError("only some pictures are interlaced")
            yield frame
            picture += 1
    if picture < len(index.shown):
        raise OtherPicturesError("the last pictures are missing")


def _checked_packets(
    container: InputContainer, stream: VideoStream, index: PictureIndex, entry: int
) -> Iterator[Packet]:
    """Yield the packets from the entry point on, each compared with the index."""
    container.seek(int(index.seek_times[entry]), stream=stream)
    place = -1
    for packet in container.demux(stream):
        if packet.size:
            if place < 0 and (packet.pts, packet.size) != (index.pts[entry], index.sizes[entry]):
                continue
            place = max(place, entry)
            if place >= len(index.pts) or (packet.pts, packet.size) != (index.pts[place], index.sizes[place]):
                raise OtherPicturesError("the file has other packets")
            place += 1
        if place >= 0:
            yield packet
    if place < 0:
        raise OtherPicturesError("the entry point is not found")


# Cached, since the parts of one video follow each other.
@lru_cache(maxsize=1)
def _timeline(path: Path, version: tuple[int, int], fps: Fraction, max_gap_s: Fraction) -> Timeline | None:
    """Return the frames of a whole video; None where packets do not tell. `version` is for the cache."""
    try:
        index = read_index(path)
        pictures, starts_s, segments = frame_times(index.shown, index.time_base, index.usual, fps, max_gap_s)
    except (NoIndexError, TooLargeTimesError) as reason:
        logger.debug("%s is decoded from its beginning: %s", path, reason)
        return None
    if pictures[0] >= len(index.head_sizes):
        return None
    return Timeline(
        index=index,
        pictures=pictures,
        starts_s=starts_s,
        segments=segments,
        first_size=index.head_sizes[pictures[0]],
    )
