"""Reads video files with PyAV. Every path of the project that looks at a video looks through this file.

What is read: the stream a person would watch (`streams`), as players show it (`rendering`): uint8 RGB
[H, W, 3], upright and mirrored as the display matrix says, square pixels, deinterlaced, in BT.709 colours.
Times: presentation times in seconds from the first picture, strictly increasing. A hole or a jump of the
clock starts a new segment and is never filled (`timeline`). At a lower rate pictures are left out, and none
is repeated.
Completeness: pictures are counted (`completeness`). A file that lacks some, or holds data that cannot be
decoded, raises an error, unless the caller passes a list for the problems, and gets what is there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from preprocessing.media.animated_pictures import animation_format, is_animated_picture, read_animation
from preprocessing.media.codecs.video_hardware import NoVideoHardwareError, gpu_decoder, warn_of_cpu
from preprocessing.media.containers.completeness import Completeness
from preprocessing.media.containers.packets import (
    counted_packets,
    open_input,
    sample_times,
    time_of,
    unreadable,
    video_stream,
)
from preprocessing.media.containers.streams import heard_stream
from preprocessing.media.images import Image
from preprocessing.media.part_damage import PartDamage
from preprocessing.media.picture import Picture, whole_picture
from preprocessing.media.rendering import FrameRenderer, deinterlace
from preprocessing.media.timeline import (
    MAX_GAP_S,
    Segment,
    Shown,
    find_segments,
    in_order_of_display,
    is_regular,
    place_pictures,
    thin_out,
    usual_fps,
)


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header and packets say; sizes are those of the rendered picture."""

    width_px: int
    height_px: int
    fps: Fraction
    """Usual rate: the header's, or where that is wrong or averages over holes, that of the first pictures."""
    num_frames: int
    """Pictures in the file."""
    duration_s: float
    """Time with a picture on screen; holes do not count."""
    codec: str
    """Of the video."""
    audio_codec: str | None
    """Of the first sound that can be decoded; None without one."""
    segments: tuple[Segment, ...]
    """Stretches without a hole."""
    has_constant_rate: bool
    """Whether all pictures of a segment come at `fps`, within half a picture."""
    problems: tuple[str, ...]
    """What the file lacks of what its header promises, in words; decoding may find more."""


class Frame(NamedTuple):
    """One shown picture."""

    picture: Picture
    pts_s: float
    """Presentation time from the first picture."""
    segment: int = 0
    """Counted from 0; a new one starts after a hole or a jump of the clock."""

    @property
    def image(self) -> Image:
        """Return the rendered pixels."""
        return self.picture.image


def probe(path: Path) -> VideoInfo:
    """Read all packets of a file, and decode its first picture alone.

    Raises:
        UnreadableVideoError: not a video, or its first picture cannot be decoded.
    """
    if path.is_file() and is_animated_picture(path):
        return _animation_info(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        completeness = Completeness(container, stream)
        packets = (
            one for one in counted_packets(container, None, completeness) if one.stream.index == stream.index
        )
        pictures = (one for one in packets if one.size and not one.is_discard)
        times = in_order_of_display((time_of(one), one.dts) for one in pictures)
        fps = usual_fps(stream.average_rate or stream.guessed_rate, times)
        shown = list(place_pictures(((None, time) for time in times), 1 / fps))
        sound = heard_stream(container)
        height, width = next(decode(path, problems=[])).image.shape[:2]
        segments = find_segments(shown)
        return VideoInfo(
            width_px=width,
            height_px=height,
            fps=fps,
            num_frames=len(times),
            duration_s=float(sum(segment.end - segment.start for segment in segments)),
            codec=stream.codec_context.codec.canonical_name,
            audio_codec=None if sound is None else sound.codec_context.codec.canonical_name,
            segments=tuple(segments),
            has_constant_rate=is_regular(shown, segments, fps),
            problems=tuple(completeness.problems(saw_all_streams=True)),
        )


def find_damage(path: Path) -> list[str]:
    """Decode the whole file and return what is wrong with it, in words; none if it is whole.

    Raises:
        UnreadableVideoError: no picture can be decoded.
    """
    problems: list[str] = []
    if path.is_file() and is_animated_picture(path):
        for _ in _animation(path, problems):
            pass
        return problems
    with open_input(path) as container:
        stream = video_stream(container, path)
        completeness = Completeness(container, stream)
        packets = counted_packets(container, stream, completeness)
        if not sum(1 for _ in decoded_frames(packets, path, completeness, is_strict=False)):
            raise unreadable(path, "no frame of it can be decoded")
        problems += completeness.problems()
    return problems


def decode(
    path: Path,
    fps: Fraction | int | None = None,
    hardware: bool = False,
    problems: list[str] | None = None,
    max_gap_s: Fraction = MAX_GAP_S,
    damage: PartDamage | None = None,
) -> Iterator[Frame]:
    """Yield the pictures, one at a time; each is rendered when it is first looked at.

    Args:
        path: any video file.
        fps: most pictures a second: of more, those on screen in the middle of each 1/fps are taken. Pictures
            are never repeated, and keep their own times. None yields every picture.
        hardware: decode on the GPU (NVDEC); see `decodes_on_gpu`.
        problems: gets what is wrong with the file, in words, once all of it that can be decoded was yielded.
            None raises an error instead.
        max_gap_s: a longer time between two pictures starts a new segment.
        damage: of a part that ends before the video: reading ends with it, and only its own damage counts
            besides data that cannot be decoded. None reads the whole video. Animated pictures are read whole.

    Raises:
        UnreadableVideoError: the file is not a video, or is damaged or truncated and `problems` is None.
        NoVideoHardwareError: no GPU here decodes it.
    """
    if path.is_file() and is_animated_picture(path):
        pictures = _animation(path, problems)
        for one in pictures if fps is None else thin_out(pictures, Fraction(fps)):
            yield Frame(whole_picture(one.picture), float(one.start), one.segment)
        return
    with open_input(path, hardware) as container:
        stream = video_stream(container, path)
        renderer = FrameRenderer(stream.sample_aspect_ratio)
        completeness = Completeness(container, stream)
        packets = counted_packets(container, stream, completeness)
        pictures = decoded_frames(packets, path, completeness, is_strict=problems is None)
        first = next(pictures, None)
        if first is None:
            raise unreadable(path, "no frame of it can be decoded")
        usual = 1 / usual_fps(stream.average_rate or stream.guessed_rate, sample_times(path))
        frames = deinterlace(chain([first], pictures))
        shown = place_pictures(((frame, time_of(frame)) for frame in frames), usual, max_gap_s)
        shown = shown if damage is None else damage.note(shown)
        found = None
        for one in shown if fps is None else thin_out(shown, Fraction(fps)):
            if damage is not None and damage.ends_before(float(one.start)):
                found = damage.problems()
                break
            yield Frame(renderer.picture(one.picture), float(one.start), one.segment)
        found = completeness.problems() if found is None else found
        if problems is not None:
            problems += found
        elif found:
            raise unreadable(path, f"it is damaged or truncated: {', '.join(found)}")


def first_picture_time(path: Path) -> Fraction:
    """Return when the first picture is shown on the file's own clock, from which `decode` counts, in seconds.

    Raises:
        UnreadableVideoError: no picture can be decoded.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        completeness = Completeness(container, stream)
        packets = counted_packets(container, stream, completeness)
        first = next(decoded_frames(packets, path, completeness, is_strict=False), None)
        if first is None:
            raise unreadable(path, "no frame of it can be decoded")
        return time_of(first) or Fraction(0)


def decodes_on_gpu(path: Path) -> bool:
    """Return whether the GPU decodes the first picture of a video; if not, log a warning once a reason.

    A decoder may know a codec, but not the number of its bits, or of the colour samples.

    Raises:
        UnreadableVideoError: it does not exist or is no video.
    """
    with open_input(path) as container:
        codec = video_stream(container, path).codec_context.codec
    try:
        gpu_decoder(codec)
        with open_input(path, hardware=True) as container:
            next(container.decode(video_stream(container, path)))
    except NoVideoHardwareError as error:
        warn_of_cpu(error)
        return False
    except (FFmpegError, StopIteration) as error:
        kind = f"its decoder knows {codec.canonical_name}, but not of this kind: {error}"
        warn_of_cpu(NoVideoHardwareError("decoding", kind))
        return False
    return True


def _animation(path: Path, problems: list[str] | None) -> Iterator[Shown[Image]]:
    """Yield the pictures of an animated picture file; arguments as for `decode`."""
    num_shown = 0
    try:
        for one in read_animation(path):
            yield Shown(one.image, one.start, one.end, 0)
            num_shown += 1
    except (OSError, SyntaxError, ValueError) as error:
        if problems is None or not num_shown:
            raise unreadable(path, f"it is damaged or truncated: {error}") from error
        problems.append(f"it cannot be read beyond {num_shown} pictures")


def _animation_info(path: Path) -> VideoInfo:
    problems: list[str] = []
    shown: list[Shown[None]] = []
    width = height = 0
    for one in _animation(path, problems):
        height, width = one.picture.shape[:2]
        shown.append(Shown(None, one.start, one.end, 0))
    fps = 1 / median_low(one.end - one.start for one in shown)
    segments = find_segments(shown)
    return VideoInfo(
        width_px=width,
        height_px=height,
        fps=fps,
        num_frames=len(shown),
        duration_s=float(shown[-1].end),
        codec=animation_format(path),
        audio_codec=None,
        segments=tuple(segments),
        has_constant_rate=is_regular(shown, segments, fps),
        problems=tuple(problems),
    )


def decoded_frames(
    packets: Iterable[Packet], path: Path, completeness: Completeness, is_strict: bool
) -> Iterator[VideoFrame]:
    """Yield the decoded frames; a recording that may begin anywhere does so with its first whole one.

    Raises:
        UnreadableVideoError: `is_strict`, and a packet cannot be decoded.
    """
    has_begun = not completeness.may_begin_anywhere
    for packet in packets:
        try:
            frames = packet.decode()
        except FFmpegError as error:
            if is_strict and has_begun:
                raise unreadable(path, "it is damaged or truncated") from error
            completeness.num_errors += has_begun
            continue
        for frame in frames:
            if frame.is_corrupt and not has_begun:
                continue
            has_begun = True
            completeness.num_corrupt += frame.is_corrupt
            yield frame
