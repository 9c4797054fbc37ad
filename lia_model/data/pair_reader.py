"""Reads the frames of pairs from shards.

Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lia_model.data.pair_list import Pair, PairList, SourceFrame
from lia_model.data.pixels import decode_frame
from lia_model.data.sharded_clips import ShardedClip, ShardedClips
from preprocessing.shards.manifest import Split


@dataclass(frozen=True)
class PairFrames:
    """The decoded frames of a pair."""

    pair: Pair
    driving: ShardedClip
    source_clip: ShardedClip
    source: UInt8[np.ndarray, "S S 3"]
    frames: UInt8[np.ndarray, "T S S 3"]

    @property
    def face_positions(self) -> list[int]:
        """Positions of the face frames within `frames`."""
        return [self.pair.frames.index(number) for number in self.pair.face_frames]


class PairReader:
    """Reads pairs from a shards directory; the training split is opened only if a pair needs it.

    Raises:
        ValueError: the directory holds no shards, or no held-out clips.
    """

    def __init__(self, shards: Path) -> None:
        self.directory = shards
        self.held_out = ShardedClips(shards, "test")
        self._splits: dict[Split, ShardedClips] = {"test": self.held_out}
        self._clips: dict[Split, dict[str, ShardedClip]] = {
            "test": {clip.key: clip for clip in self.held_out.clips}
        }

    def find(self, split: Split, key: str) -> tuple[ShardedClips, ShardedClip]:
        """Return the clips of a split, and the one called `key` among them.

        Raises:
            ValueError: the shards do not hold that clip.
        """
        if split not in self._splits:
            self._splits[split] = ShardedClips(self.directory, split)
            self._clips[split] = {clip.key: clip for clip in self._splits[split].clips}
        if key not in self._clips[split]:
            raise ValueError(
                f"{self.directory} holds no {split} clip {key}: evaluate on the shards that the list was "
                "made from"
            )
        return self._splits[split], self._clips[split][key]

    def sha256(self, source: SourceFrame, driving: str, frames: Sequence[int]) -> str:
        """Return the hash over the stored files of a source frame and of driving frames."""
        digest = hashlib.sha256()
        for content in self._files(source, driving, frames):
            digest.update(content)
        return digest.hexdigest()

    def read(self, pair: Pair) -> PairFrames:
        """Decode a pair."""
        source, *frames = map(decode_frame, self._files(pair.source, pair.driving, pair.frames))
        _, driving = self.find("test", pair.driving)
        _, source_clip = self.find(pair.source.split, pair.source.clip)
        return PairFrames(pair, driving, source_clip, source, np.stack(frames))

    def require(self, pairs: PairList) -> None:
        """Check that these shards hold every frame of the list, byte for byte.

        Raises:
            ValueError: a frame is missing or differs.
        """
        for pair in pairs.pairs:
            clips, driving = self.find("test", pair.driving)
            _, source = self.find(pair.source.split, pair.source.clip)
            in_range = max(pair.frames) < driving.num_frames and pair.source.frame < source.num_frames
            if not in_range or self.sha256(pair.source, pair.driving, pair.frames) != pair.sha256:
                raise ValueError(
                    f"{clips.directory.parent} holds other frames of clip {pair.driving} or of its source "
                    f"{pair.source.clip} than the list: evaluate on the shards that the list was made from"
                )

    def _files(self, source: SourceFrame, driving: str, frames: Sequence[int]) -> Iterator[bytes]:
        clips, clip = self.find(source.split, source.clip)
        yield clips.frame_bytes(clip.index, source.frame)
        clips, clip = self.find("test", driving)
        for number in frames:
            yield clips.frame_bytes(clip.index, number)
