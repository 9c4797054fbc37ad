"""index.npz of a split: where each frame of each clip lies in the tars; its only reader and writer.

Axes: N clips, M frames of all clips, one clip after the other.
"""

from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

INDEX_NAME = "index.npz"


class FrameIndex(NamedTuple):
    """Frame t of clip n is number `clip_first[n] + t` of the frames."""

    tars: list[str]
    """Names of the tar files."""
    clip_key: list[str]
    """Key of each clip."""
    clip_tar: NDArray[np.int32]
    """Which tar holds each clip, [N]."""
    clip_first: NDArray[np.int64]
    """Number of each clip's first frame, and of all frames at the end, [N + 1]."""
    frame_offset: NDArray[np.int64]
    """Where the JPEG file begins in its tar, in bytes, [M]."""
    frame_size: NDArray[np.int32]
    """Length of the JPEG file in bytes, [M]."""
    frame_yaw_deg: NDArray[np.float16]
    """Angle of the head to the image's right in degrees, [M]; NaN where it was not measured, as in shards of
    earlier versions."""

    def tars_of_sources(self, source_keys: Collection[str]) -> list[str]:
        """Return the names of the tars that hold clips of some videos, by the videos' keys."""
        found = {
            int(tar)
            for key, tar in zip(self.clip_key, self.clip_tar, strict=True)
            if key.split("-")[0] in source_keys
        }
        return [self.tars[number] for number in sorted(found)]


def read_index(file: Path | BytesIO) -> FrameIndex:
    """Read the index of a split."""
    with np.load(file) as arrays:
        names = {name: [str(text) for text in arrays[name]] for name in ("tars", "clip_key")}
        numbers: dict[str, Any] = {
            name: arrays[name] for name in FrameIndex._fields if name in arrays and name not in names
        }
    if "frame_yaw_deg" not in numbers:
        numbers["frame_yaw_deg"] = np.full(len(numbers["frame_size"]), np.nan, np.float16)
    return FrameIndex(**names, **numbers)


def write_index(path: Path, index: FrameIndex) -> None:
    """Write the index of a split; equal indices give equal bytes."""
    with path.open("wb") as file:
        # numpy stamps every member with the zip format's first day, so the file is deterministic.
        np.savez(
            file,
            tars=np.array(index.tars, dtype=np.str_),
            clip_key=np.array(index.clip_key, dtype=np.str_),
            clip_tar=index.clip_tar,
            clip_first=index.clip_first,
            frame_offset=index.frame_offset,
            frame_size=index.frame_size,
            frame_yaw_deg=index.frame_yaw_deg,
        )
