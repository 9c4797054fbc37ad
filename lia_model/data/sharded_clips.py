"""Whole clips of a split, read by index from the shards that `preprocessing.shards` wrote.

The index beside the tars gives offset and size of every frame, so that any frame is one seek away.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lia_model.data.pixels import decode_jpeg

Split = str


@dataclass(frozen=True)
class Clip:
    """One clip of a split, as the manifest describes it."""

    key: str
    num_frames: int
    index: int
    """Position in the split's index."""
    info: dict[str, Any]
    """The manifest's entry: source, url, identity, times, by_time, follows."""


class ShardedClips:
    """The clips of one split, decoded frame by frame.

    Raises:
        ValueError: the directory holds no shards, or none of that split.
    """

    def __init__(self, shards: Path, split: Split) -> None:
        self.directory = shards / split
        manifest = read_manifest(shards)
        index_path = self.directory / "index.npz"
        if not index_path.is_file():
            raise ValueError(
                f"{shards} holds no {split} clips: add a source of that split and run `lia shards`"
            )
        with np.load(index_path) as index:
            self._tars = [str(name) for name in index["tars"]]
            self._clip_tar = index["clip_tar"]
            self._clip_first = index["clip_first"]
            self._frame_offset = index["frame_offset"]
            self._frame_size = index["frame_size"]
            keys = [str(key) for key in index["clip_key"]]
        self.size_px: int = manifest["size_px"]
        self.fps: float = manifest["fps"]
        infos = {entry["key"]: entry for entry in manifest["splits"][split]["clips"]}
        lengths = np.diff(self._clip_first)
        self.clips = [Clip(key, int(lengths[i]), i, infos[key]) for i, key in enumerate(keys)]
        if not self.clips:
            raise ValueError(
                f"{shards} holds no {split} clips: add a source of that split and run `lia shards`"
            )

    @property
    def num_frames(self) -> tuple[int, ...]:
        """Return the length of each clip."""
        return tuple(clip.num_frames for clip in self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def frame(self, clip: int, frame: int) -> UInt8[np.ndarray, "S S 3"]:
        """Decode one frame."""
        return decode_jpeg(self.frame_bytes(clip, frame))

    def frame_bytes(self, clip: int, frame: int) -> bytes:
        """Return one frame as the JPEG file it is stored as."""
        return self.files(clip, [frame])[frame]

    def files(self, clip: int, frames: Collection[int]) -> dict[int, bytes]:
        """Return some frames of one clip as JPEG files, read in the order in which they lie on disk."""
        first = int(self._clip_first[clip])
        found = {}
        with (self.directory / self._tars[self._clip_tar[clip]]).open("rb") as tar:
            for frame in sorted(frames):
                tar.seek(int(self._frame_offset[first + frame]))
                found[frame] = tar.read(int(self._frame_size[first + frame]))
        return found

    def frames(self, clip: int, start: int = 0, stop: int | None = None) -> UInt8[np.ndarray, "T S S 3"]:
        """Decode frames `start` up to `stop` of one clip."""
        stop = self.clips[clip].num_frames if stop is None else stop
        return np.stack([decode_jpeg(data) for data in self.files(clip, range(start, stop)).values()])


def read_manifest(shards: Path) -> dict[str, Any]:
    """Read `manifest.json`.

    Raises:
        ValueError: there is none.
    """
    path = shards / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{shards} holds no manifest.json: make the shards first with `lia shards`")
    return json.loads(path.read_text())
