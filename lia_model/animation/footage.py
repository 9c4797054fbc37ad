"""Opens files of unknown origin: an image, a video, or neither, decided by the first bytes.

Only the formats listed here are opened. Names and declared types prove nothing, and FFmpeg would also open
playlists, which make it read other files and URLs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from preprocessing.media.animated_pictures import is_animated_picture
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.images import is_heic, is_picture, read_image
from preprocessing.media.timeline import Segment, time_without_holes
from preprocessing.media.video_reader import Frame, VideoInfo, decode, decodes_on_gpu, probe

MediaKind = Literal["image", "video"]

MIN_SIDE_PX = 32
"""In a smaller picture, faces are too small for the model."""
STILL_FPS = Fraction(25)
"""Frames per second of the one-frame video made from a driving image."""
MAX_TICKS_PER_S = 1_000_000
"""Finest clock of a container; exact times come back from their rounded seconds."""

_NUM_HEAD_BYTES = 512
_MPEG_TS_PACKET_BYTES = 188
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
)
_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


class UnreadableMediaError(ValueError):
    """The file is neither an image nor a video that can be decoded."""


def media_kind(path: Path) -> MediaKind | None:
    """Return the kind by the content, or None for anything else; an animated picture is a video.

    Raises:
        UnreadableMediaError: the file does not exist, or is a HEIC picture.
    """
    if not path.is_file():
        raise UnreadableMediaError(f"got {path}, which does not exist: give an image or a video")
    with path.open("rb") as file:
        head = file.read(_NUM_HEAD_BYTES)
    if is_heic(path):
        raise UnreadableMediaError(
            f"got {path}, a HEIC picture, which is not supported: convert it to JPEG or PNG"
        )
    if is_picture(path):
        return "video" if is_animated_picture(path) else "image"
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_mpeg_ts = head[:1] == b"G" and head[_MPEG_TS_PACKET_BYTES : _MPEG_TS_PACKET_BYTES + 1] == b"G"
    if head.startswith(_VIDEO_STARTS) or head[4:8] in _QUICKTIME_ATOMS or is_avi or is_mpeg_ts:
        return "video"
    return None


@dataclass(frozen=True)
class Decoding:
    """How videos are decoded."""

    fps: Fraction | None = None
    """Most frames a second; None decodes all."""
    hardware: bool = False
    """Decode on the GPU what it can decode."""
    strict: bool = False
    """Refuse a video that is damaged or incomplete, instead of taking what is there."""


class ShownFrame(NamedTuple):
    """A frame of footage and when it is shown, in seconds."""

    image: UInt8[np.ndarray, "H W 3"]
    start: Fraction


@dataclass(frozen=True)
class Footage:
    """An image or a video; each call of `frames` or `shown` decodes it again."""

    path: Path
    is_still: bool
    fps: Fraction
    """Usual rate of the frames that `frames` yields."""
    num_frames: int
    """An estimate until the video is decoded: part of it may be damaged."""
    convert: bool
    """Whether to convert an image that is not 8-bit RGB; False refuses it."""
    decoding: Decoding = field(default_factory=Decoding)
    has_constant_rate: bool = True
    """Whether the frames come at `fps`, without holes."""
    frame_s: Fraction = 1 / STILL_FPS
    """Usual time from frame to frame in the file, of which `frames` may yield fewer."""
    segments: tuple[Segment, ...] = ()
    """Stretches of a video without a hole; its sound has the holes cut out."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the file, in words; complete once it was decoded to its end. Of an image, what it
    loses by being converted."""

    @property
    def sound(self) -> Path | None:
        """Return the file with its sound; None for a picture, animated or not."""
        return None if self.is_still or is_animated_picture(self.path) else self.path

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Decode from the start.

        Raises:
            UnreadableMediaError: nothing can be decoded, or with `strict`, not all of it.
        """
        return (frame.image for frame in self.shown())

    def shown(self) -> Iterator[ShownFrame]:
        """Decode from the start, with the times at which frames are shown; holes take no time.

        Raises:
            UnreadableMediaError: nothing can be decoded, or with `strict`, not all of it.
        """
        if self.is_still:
            yield ShownFrame(_read_image(self.path, self.convert), Fraction(0))
            return
        found: list[str] = []
        how = self.decoding
        try:
            frames = decode(self.path, how.fps, how.hardware, problems=None if how.strict else found)
            yield from _without_holes(frames, self.segments, self.frame_s)
        except UnreadableVideoError as error:
            raise UnreadableMediaError(str(error)) from error
        self.problems.extend(one for one in found if one not in self.problems)

    def first_frame(self) -> UInt8[np.ndarray, "H W 3"]:
        """Decode the image, or the video's first frame."""
        return next(self.frames())


def open_footage(path: Path, convert: bool = True, decoding: Decoding | None = None) -> Footage:
    """Open the file and decode its first picture.

    Args:
        path: an image or a video; its suffix does not matter.
        convert: convert an image that is not 8-bit RGB; False refuses it.
        decoding: how a video is decoded; None decodes all that is there, on the CPU.

    Raises:
        UnreadableMediaError: the picture cannot be decoded, has a side under 32 px, needs a conversion that
            `convert` forbids, or with `strict`, the video is incomplete.
    """
    decoding = decoding or Decoding()
    kind = media_kind(path)
    if kind == "image":
        losses: list[str] = []
        height, width = _read_image(path, convert, losses).shape[:2]
        footage = Footage(path, True, STILL_FPS, 1, convert, problems=losses)
    elif kind == "video":
        try:
            info = probe(path)
        except UnreadableVideoError as error:
            raise UnreadableMediaError(str(error)) from error
        height, width = info.height_px, info.width_px
        if info.problems and decoding.strict:
            raise UnreadableMediaError(
                f"got {path}, which is incomplete: {', '.join(info.problems)}; give a whole file, or leave "
                "out strict"
            )
        on_gpu = decoding.hardware and not is_animated_picture(path) and decodes_on_gpu(path)
        footage = _video(path, info, convert, replace(decoding, hardware=on_gpu))
    else:
        is_empty = path.stat().st_size == 0
        what = "is empty (0 bytes)" if is_empty else "is neither an image nor a video"
        raise UnreadableMediaError(f"got {path}, which {what}: give a JPEG, PNG or mp4")
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableMediaError(
            f"got {path} of {width}x{height} px; both sides must be at least {MIN_SIDE_PX} px: "
            "give a larger picture"
        )
    return footage


def _video(path: Path, info: VideoInfo, convert: bool, decoding: Decoding) -> Footage:
    is_thinned = decoding.fps is not None and decoding.fps < info.fps
    return Footage(
        path,
        is_still=False,
        fps=decoding.fps if is_thinned and decoding.fps is not None else info.fps,
        num_frames=round(info.duration_s * decoding.fps) if is_thinned and decoding.fps else info.num_frames,
        convert=convert,
        decoding=decoding,
        has_constant_rate=info.has_constant_rate and len(info.segments) == 1 and not is_thinned,
        frame_s=1 / info.fps,
        segments=info.segments,
        problems=list(info.problems),
    )


def _without_holes(
    frames: Iterable[Frame], segments: Sequence[Segment], frame_s: Fraction
) -> Iterator[ShownFrame]:
    """Give each frame its time without holes; one that damage has moved follows its predecessor."""
    start = -frame_s
    for frame in frames:
        time = Fraction(frame.pts_s).limit_denominator(MAX_TICKS_PER_S)
        placed = time_without_holes(time, segments)
        start = start + frame_s if placed is None or placed <= start else placed
        yield ShownFrame(frame.image, start)


def require_media(path: Path) -> MediaKind:
    """Open the file, decode its first picture and return its kind.

    Raises:
        UnreadableMediaError: the picture cannot be decoded or is too small.
    """
    return "image" if open_footage(path).is_still else "video"


def first_picture(path: Path, convert: bool = True) -> UInt8[np.ndarray, "H W 3"]:
    """Return the image, or the video's first frame.

    Raises:
        UnreadableMediaError: the picture cannot be decoded or is too small.
    """
    return open_footage(path, convert).first_frame()


def _read_image(path: Path, convert: bool, losses: list[str] | None = None) -> UInt8[np.ndarray, "H W 3"]:
    try:
        return read_image(path, convert, losses)
    except ValueError as error:
        raise UnreadableMediaError(str(error)) from error
