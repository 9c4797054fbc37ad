"""Opens files of unknown origin: an image, a video, or neither, decided by the first bytes.

Only the formats listed here are opened. Names and declared types prove nothing, and FFmpeg would also open
playlists, which make it read other files and URLs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from preprocessing.media.images import read_image
from preprocessing.media.video_reader import UnreadableVideoError, decode, probe

MediaKind = Literal["image", "video"]

MIN_SIDE_PX = 32
"""In a smaller picture, faces are too small for the model."""
STILL_FPS = Fraction(25)
"""Frames per second of the one-frame video made from a driving image."""

_NUM_HEAD_BYTES = 512
_MPEG_TS_PACKET_BYTES = 188
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"GIF87a",
    b"GIF89a",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
)
_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


class UnreadableMediaError(ValueError):
    """The file is neither an image nor a video that can be decoded."""


def media_kind(path: Path) -> MediaKind | None:
    """Return the kind by the first bytes, or None for anything else.

    Raises:
        UnreadableMediaError: the file does not exist.
    """
    if not path.is_file():
        raise UnreadableMediaError(f"got {path}, which does not exist: give an image or a video")
    with path.open("rb") as file:
        head = file.read(_NUM_HEAD_BYTES)
    if head.startswith(_IMAGE_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_mpeg_ts = head[:1] == b"G" and head[_MPEG_TS_PACKET_BYTES : _MPEG_TS_PACKET_BYTES + 1] == b"G"
    if head.startswith(_VIDEO_STARTS) or head[4:8] in _QUICKTIME_ATOMS or is_avi or is_mpeg_ts:
        return "video"
    return None


@dataclass(frozen=True)
class Footage:
    """An image or a video; each call of `frames` decodes it again."""

    path: Path
    is_still: bool
    fps: Fraction
    num_frames: int
    """From the header, so an estimate until the video is decoded."""
    convert: bool
    """Whether to convert an image that is not upright 8-bit RGB; False refuses it."""
    hardware: bool = False
    """Whether a video is decoded on the GPU."""

    @property
    def sound(self) -> Path | None:
        """Return the file with its sound; None for an image."""
        return None if self.is_still else self.path

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Decode from the start.

        Raises:
            UnreadableMediaError: the video is damaged or truncated.
        """
        if self.is_still:
            yield _read_image(self.path, self.convert)
            return
        try:
            for frame in decode(self.path, hardware=self.hardware):
                yield frame.image
        except UnreadableVideoError as error:
            raise UnreadableMediaError(str(error)) from error

    def first_frame(self) -> UInt8[np.ndarray, "H W 3"]:
        """Decode the image, or the video's first frame."""
        return next(self.frames())


def open_footage(path: Path, convert: bool = True, hardware: bool = False) -> Footage:
    """Open the file and decode its first picture.

    Args:
        path: an image or a video; its suffix does not matter.
        convert: convert an image that is not upright 8-bit RGB; False refuses it.
        hardware: decode a video on the GPU.

    Raises:
        UnreadableMediaError: the picture cannot be decoded, has a side under 32 px, or needs a conversion
            that `convert` forbids.
    """
    kind = media_kind(path)
    if kind == "image":
        height, width = _read_image(path, convert).shape[:2]
        footage = Footage(path, True, STILL_FPS, 1, convert)
    elif kind == "video":
        try:
            info = probe(path)
        except UnreadableVideoError as error:
            raise UnreadableMediaError(str(error)) from error
        height, width = info.height_px, info.width_px
        footage = Footage(path, False, info.fps, info.num_frames, convert, hardware)
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


def _read_image(path: Path, convert: bool) -> UInt8[np.ndarray, "H W 3"]:
    try:
        return read_image(path, convert)
    except ValueError as error:
        raise UnreadableMediaError(str(error)) from error
