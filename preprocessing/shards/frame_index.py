"""The file beside each tar that says where its frames lie, such as 00000.npy; its only reader and writer.

One row a frame, one clip after the other. It is mapped into memory, so that opening it costs nothing and what
is read of it may leave memory again, however many frames a split has.
"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

FRAME = np.dtype([("offset", "<i8"), ("size", "<i4"), ("yaw_deg", "<f2")])
"""Where a frame's file begins in its tar and its length, in bytes; and the angle of the head to the image's
right in degrees, NaN where it was not measured."""


def frames_name(tar: str) -> str:
    """Return the name of the file that lies beside a tar."""
    return f"{Path(tar).stem}.npy"


def make_frames(offsets: ArrayLike, sizes: ArrayLike, yaw_deg: ArrayLike) -> np.ndarray:
    """Return rows of `FRAME`."""
    frames = np.empty(np.shape(offsets), FRAME)
    frames["offset"], frames["size"], frames["yaw_deg"] = offsets, sizes, yaw_deg
    return frames


def write_frames(path: Path, frames: np.ndarray) -> None:
    """Write rows of `FRAME`; equal ones give equal bytes."""
    with path.open("wb") as file:
        np.save(file, frames)


def map_frames(path: Path) -> np.ndarray:
    """Return the rows of a file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        frames = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"got {path}, which cannot be read ({error}): copy the shards again") from None
    if frames.dtype != FRAME or frames.ndim != 1:
        raise ValueError(f"got {path}, which lists no frames: copy the shards again")
    return frames
