"""Reads whole clips and single frames of a split from shards; any frame is one seek away.

Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Float, UInt8

from lia_model.data.pixels import UndecodableImageError, decode_frame, picture_size_px
from preprocessing.clips.sample import ClipEntry
from preprocessing.shards.clip_index import INDEX_NAME, ClipIndex, read_index
from preprocessing.shards.frame_index import frames_name, map_frames
from preprocessing.shards.manifest import Split, read_manifest

NUM_CHECKED_CLIPS = 8


class ShardedClip(ClipEntry):
    """One clip of a split."""

    index: int
    """Position in the split's index."""


class ClipSequence(Sequence[ShardedClip]):
    """The clips of a split, each made when it is asked for, since a split may have a million."""

    def __init__(self, index: ClipIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, place: int) -> ShardedClip: ...
    @overload
    def __getitem__(self, place: slice) -> list[ShardedClip]: ...
    def __getitem__(self, place: int | slice) -> ShardedClip | list[ShardedClip]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        number = range(len(self))[place]
        return ShardedClip.model_construct(**dict(self._index.entry(number)), index=number)


class ShardedClips:
    """The clips of one split, decoded frame by frame.

    Args:
        shards: folder of the manifest.
        split: which split.

    Raises:
        ValueError: there are no shards, no clips of that split, index and manifest do not match, or the
            frames are of another size than the manifest says.
    """

    def __init__(self, shards: Path, split: Split) -> None:
        self.directory = shards / split
        manifest = read_manifest(shards)
        listing = manifest.split(split)
        path = self.directory / INDEX_NAME
        if not listing.num_clips or not path.is_file():
            raise ValueError(
                f"{shards} holds no {split} clips: add a source of that split and run `lia shards`"
            )
        self._index = read_index(path)
        counts = np.bincount(self._index.clip_tar, minlength=len(listing.tars)).tolist()
        listed = [(tar.name, tar.num_clips) for tar in listing.tars]
        if list(zip(self._index.tars, counts, strict=False)) != listed:
            raise ValueError(
                f"got {path}, which does not list the clips of the manifest beside it; "
                "make the shards again with `lia shards`"
            )
        # Number of each tar's first frame among all of the split.
        self._tar_first = np.cumsum([0, *(tar.num_frames for tar in listing.tars)])
        self._frames: dict[int, np.ndarray] = {}
        self.size_px = manifest.size_px
        self.fps = manifest.fps
        self.crop = manifest.crop
        self.clips = ClipSequence(self._index)
        self._require_size()

    def _require_size(self) -> None:
        """Look at frames of the first clips; a single one that is damaged or of another size may be there.

        The first ones of those tars that are here: a machine may have fetched only those that it needs.
        """
        found = None
        for clip, frame in product(self._first_clips_here(), (0, -1)):
            tar = self.directory.parent / self.shard(clip)
            try:
                size = picture_size_px(self.frame_bytes(clip, frame % self.clips[clip].num_frames))
            except UndecodableImageError:
                continue
            if size == (self.size_px, self.size_px):
                return
            found = found or (tar, *size)
        if found is not None:
            tar, width, height = found
            raise ValueError(
                f"{tar} holds frames of {width}x{height} px, and the manifest says {self.size_px}x"
                f"{self.size_px}: make the shards again with `lia shards`, or copy them with their manifest"
            )

    def _first_clips_here(self) -> list[int]:
        tars = self._index.tars
        is_here = np.array([(self.directory / name).is_file() for name in tars])
        if not is_here.any():
            raise ValueError(_missing(self.directory / tars[0]))
        return np.flatnonzero(is_here[self._index.clip_tar])[:NUM_CHECKED_CLIPS].tolist()

    @property
    def num_frames(self) -> tuple[int, ...]:
        """Return the length of each clip."""
        return tuple(np.diff(self._index.clip_first).tolist())

    @property
    def people(self) -> list[str]:
        """Return who is shown in each clip: the identity or, without one, the key of the source."""
        return self._index.people()

    @property
    def has_yaw(self) -> bool:
        """Return whether the yaw of the head is known in any clip."""
        return bool(self._index.has_yaw.any())

    def yaw_deg(self, clip: int) -> Float[np.ndarray, " T"] | None:
        """Return the yaw of the head in each frame of a clip, in degrees; None if it is not known of all."""
        if not self._index.has_yaw[clip]:
            return None
        return self._places(clip)["yaw_deg"].astype(np.float32)

    def __len__(self) -> int:
        return len(self.clips)

    def frame(self, clip: int, frame: int) -> UInt8[np.ndarray, "S S 3"]:
        """Decode one frame."""
        return decode_frame(self.frame_bytes(clip, frame))

    def frame_bytes(self, clip: int, frame: int) -> bytes:
        """Return the stored picture file of one frame."""
        return self.files(clip, [frame])[frame]

    def shard(self, clip: int) -> str:
        """Return the name of the tar that holds a clip, such as `train/00000.tar`."""
        return f"{self.directory.name}/{self._index.tars[self._index.clip_tar[clip]]}"

    def files(self, clip: int, frames: Collection[int]) -> dict[int, bytes]:
        """Return the files of some frames of one clip, read in the order in which they lie on disk."""
        places = self._places(clip)
        found = {}
        with (self.directory.parent / self.shard(clip)).open("rb") as tar:
            for frame in sorted(frames):
                tar.seek(int(places["offset"][frame]))
                found[frame] = tar.read(int(places["size"][frame]))
        return found

    def _places(self, clip: int) -> np.ndarray:
        """Return where the frames of a clip lie."""
        tar = int(self._index.clip_tar[clip])
        if tar not in self._frames:
            path = self.directory / self._index.tars[tar]
            if not path.is_file():
                raise ValueError(_missing(path))
            self._frames[tar] = map_frames(path.with_name(frames_name(path.name)))
        first, end = self._index.clip_first[clip : clip + 2] - self._tar_first[tar]
        return self._frames[tar][first:end]

    def frames(self, clip: int, start: int = 0, stop: int | None = None) -> UInt8[np.ndarray, "T S S 3"]:
        """Decode frames `start` up to `stop` of one clip; None is its end."""
        stop = self.clips[clip].num_frames if stop is None else stop
        return np.stack([decode_frame(data) for data in self.files(clip, range(start, stop)).values()])


def _missing(tar: Path) -> str:
    return (
        f"{tar} is missing, which the index beside it lists: copy the shards again, or set LIA_STORE_URL if "
        "that store has them"
    )
