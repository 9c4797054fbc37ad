"""What a file of unknown origin holds: a still image, a video, or neither, told by its first bytes.

Only formats on this list are opened at all. Names and declared types prove nothing, and FFmpeg would also
open playlists, which make it read other files and addresses.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from preprocessing.video import decode, probe, read_image

MediaKind = Literal["image", "video"]

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
    """Tell an image from a video by the first bytes; None for anything else.

    Raises:
        UnreadableMediaError: there is no such file.
    """
    if not path.is_file():
        raise UnreadableMediaError(f"got {path}, but there is no such file; give an image or a video")
    with path.open("rb") as file:
        head = file.read(_NUM_HEAD_BYTES)
    if head.startswith(_IMAGE_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_mpeg_ts = head[:1] == b"G" and head[_MPEG_TS_PACKET_BYTES : _MPEG_TS_PACKET_BYTES + 1] == b"G"
    if head.startswith(_VIDEO_STARTS) or head[4:8] in _QUICKTIME_ATOMS or is_avi or is_mpeg_ts:
        return "video"
    return None


def require_media(path: Path) -> MediaKind:
    """Open the file, decode its first picture and tell what it is.

    Raises:
        UnreadableMediaError: it holds no picture that can be decoded.
    """
    kind = media_kind(path)
    try:
        if kind == "image":
            read_image(path)
        elif kind == "video":
            probe(path)
        else:
            raise UnreadableMediaError(
                f"got {path}, which is neither an image nor a video; give a JPEG, PNG or mp4"
            )
    except UnreadableMediaError:
        raise
    except ValueError as error:
        raise UnreadableMediaError(str(error)) from error
    return kind


def first_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Return the image, or the video's first frame.

    Raises:
        UnreadableMediaError: it holds no picture that can be decoded.
    """
    if require_media(path) == "image":
        return read_image(path)
    return next(decode(path)).image
