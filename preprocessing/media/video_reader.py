"""Reads video files with PyAV.

Guaranteed: images are uint8 RGB [H, W, 3], rotated upright by multiples of 90 degrees as the display matrix
says; times are presentation times in seconds from the first shown frame, strictly increasing; resampling to
a constant rate goes by these times, so variable frame rates come out right; a file that cannot be decoded
to its end raises an error instead of ending early.
Not handled: mirrored display matrices, pixel aspect ratios, interlacing, and HDR colours.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from preprocessing.media.images import Image
from preprocessing.media.video_hardware import gpu_decoder

logger = logging.getLogger(__name__)

_USUAL_FPS = 25
"""Taken where neither header nor stream gives a rate."""


class UnreadableVideoError(ValueError):
    """The file holds no video that can be decoded."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says; sizes are those of the upright frame."""

    width_px: int
    height_px: int
    fps: Fraction
    """Average rate."""
    num_frames: int
    """As the header says, or duration times rate where it does not."""
    duration_s: float
    """Of the video track."""
    codec: str
    """Of the video track."""
    audio_codec: str | None
    """Of the first audio track; None without sound."""


class Frame(NamedTuple):
    """One shown frame."""

    image: Image
    pts_s: float
    """Presentation time from the first frame."""


def probe(path: Path) -> VideoInfo:
    """Return what the header and the first frame say; only that frame is decoded.

    Raises:
        UnreadableVideoError: not a video, or its first frame cannot be decoded.
    """
    with open_input(path) as container:
        stream = _video_stream(container, path)
        try:
            first = next(container.decode(stream))
        except (FFmpegError, StopIteration) as error:
            raise unreadable(path, "no frame of it can be decoded") from error
        is_turned = round(first.rotation / 90) % 2 == 1
        width, height = (first.height, first.width) if is_turned else (first.width, first.height)
        fps = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_FPS)
        duration_s = _claimed_duration_s(container, stream)
        sound = container.streams.audio
        return VideoInfo(
            width_px=width,
            height_px=height,
            fps=fps,
            num_frames=stream.frames or round(duration_s * fps),
            duration_s=duration_s,
            codec=stream.codec_context.codec.canonical_name,
            audio_codec=sound[0].codec_context.codec.canonical_name if sound else None,
        )


def decoded_duration_s(path: Path) -> float:
    """Decode the whole file and return how many seconds of video it shows.

    A truncated file gives the length of the part that can be decoded.

    Raises:
        UnreadableVideoError: no frame can be decoded.
    """
    end_s = None
    for frame in _frames(path, stop_at_error=True):
        end_s = float(frame.end)
    if end_s is None:
        raise unreadable(path, "no frame of it can be decoded")
    return end_s


def decode(path: Path, fps: Fraction | int | None = None, hardware: bool = False) -> Iterator[Frame]:
    """Yield the upright frames, one at a time.

    Args:
        path: any video file.
        fps: constant rate to resample to by presentation time: output frame n shows what is on screen in the
            middle of its own interval, (n + 1/2) / fps. None yields every frame as stored, with its own time.
        hardware: decode on the GPU (NVDEC).

    Raises:
        UnreadableVideoError: the file is not a video, or is damaged or truncated.
        NoVideoHardwareError: no GPU here decodes it.
    """
    convert = VideoReformatter()
    if fps is None:
        for shown in _frames(path, hardware=hardware):
            yield Frame(_upright_rgb(shown.frame, convert), float(shown.start))
        return
    count = 0
    last: VideoFrame | None = None
    for shown in _frames(path, hardware=hardware):
        image: Image | None = None
        while (count + Fraction(1, 2)) / fps < shown.end:
            image = _upright_rgb(shown.frame, convert) if image is None else image
            yield Frame(image, float(count / Fraction(fps)))
            count += 1
        last = shown.frame
    if count == 0 and last is not None:
        yield Frame(_upright_rgb(last, convert), 0.0)


class _Shown(NamedTuple):
    """A decoded frame and when it is on screen, in seconds from the first frame."""

    frame: VideoFrame
    start: Fraction
    end: Fraction


def _frames(path: Path, stop_at_error: bool = False, hardware: bool = False) -> Iterator[_Shown]:
    """Yield decoded frames with their intervals; a frame lasts until the next one starts."""
    with open_input(path, hardware) as container:
        stream = _video_stream(container, path)
        time_base = stream.time_base or Fraction(1, 1000)
        usual = 1 / Fraction(stream.average_rate or stream.guessed_rate or _USUAL_FPS)
        origin: Fraction | None = None
        waiting: tuple[VideoFrame, Fraction] | None = None
        try:
            for frame in container.decode(stream):
                known = None if frame.pts is None else frame.pts * time_base
                if known is None:
                    known = Fraction(0) if waiting is None else waiting[1] + usual + (origin or 0)
                origin = known if origin is None else origin
                start = known - origin
                if waiting is not None:
                    if start <= waiting[1]:
                        continue
                    yield _Shown(waiting[0], waiting[1], start)
                waiting = (frame, start)
        except FFmpegError as error:
            if not stop_at_error:
                raise unreadable(path, "it is damaged or truncated") from error
            logger.warning("%s is damaged or truncated", path.name)
        if waiting is None:
            raise unreadable(path, "no frame of it can be decoded")
        lasts = waiting[0].duration * time_base if waiting[0].duration else usual
        yield _Shown(waiting[0], waiting[1], waiting[1] + lasts)


def open_input(path: Path, hardware: bool = False) -> InputContainer:
    """Open a media file for reading.

    Raises:
        UnreadableVideoError: it does not exist or is no media file.
        NoVideoHardwareError: `hardware`, and no GPU here decodes video.
    """
    try:
        return av.open(str(path), hwaccel=gpu_decoder() if hardware else None)
    except (FFmpegError, OSError) as error:
        reason = "there is no such file" if not path.is_file() else "it is not a video"
        raise unreadable(path, reason) from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise unreadable(path, "it has no video track")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _claimed_duration_s(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _upright_rgb(frame: VideoFrame, convert: VideoReformatter) -> Image:
    """Return the pixels, rotated as the file's display matrix says (its angle is counter-clockwise).

    `convert` is shared by all frames of a file: setting up a converter for each frame takes several times as
    long as the conversion.
    """
    image = np.asarray(convert.reformat(frame, format="rgb24").to_ndarray(), dtype=np.uint8)
    num_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, num_turns)) if num_turns else image


def unreadable(path: Path, reason: str) -> UnreadableVideoError:
    """Return the error that names the file and says what is wrong with it."""
    return UnreadableVideoError(
        f"got {path}, but {reason}; a video that can be decoded is needed; give another file"
    )
