"""Training pairs and whole clips, read by index from the shards that `preprocessing.shards` wrote.

The index beside the tars gives offset and size of every frame, so that the pairs of a step are a pure
function of (seed, step, rank): any number of workers sees every clip, and resuming needs nothing but the
step.
Axes: B batch, T frames, H W S pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from lia_model.augmentation import apply_change, draw_change
from lia_model.settings import AugmentationSettings

Split = str


def to_float(images: UInt8[np.ndarray, "T H W 3"] | UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "T 3 H W"]:
    """Return RGB bytes as floats in [-1, 1]: v / 127.5 - 1, on the device they are on, in channels_last."""
    tensor = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    return _scaled(tensor.permute(0, 3, 1, 2))


def _scaled(images: UInt8[Tensor, ...]) -> Float[Tensor, ...]:
    return images.float().div_(127.5).sub_(1)


def to_bytes(images: Float[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Return floats in [-1, 1] as RGB bytes, clamped and rounded: the inverse of `to_float`."""
    scaled = images.float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


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


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a JPEG file to RGB."""
    from PIL import Image  # here, so that the model alone imports without Pillow

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


@dataclass(frozen=True)
class PairSampler:
    """Which pairs a rank trains on at a step: a pure function of the seed.

    Pairs are numbered through the whole training. Every epoch visits all clips once in a new order; at each
    visit pairs of two different frames are drawn (lia.md section 6).
    """

    num_frames: tuple[int, ...]
    """Frames of each clip, all at least 2."""
    seed: int
    rank: int
    num_ranks: int
    batch_size: int
    pairs_per_visit: int = 1
    """Pairs drawn from a clip before the next one is visited; a batch holds whole visits."""

    def pairs(self, step: int) -> list[tuple[int, int, int]]:
        """Return (clip, source frame, driving frame) for each sample of this rank's batch at `step`."""
        return [self._pair(number) for number in self.numbers(step)]

    def numbers(self, step: int) -> range:
        """Return the numbers of the pairs that this rank trains on at `step`."""
        first = (step * self.num_ranks + self.rank) * self.batch_size
        return range(first, first + self.batch_size)

    def _pair(self, number: int) -> tuple[int, int, int]:
        epoch, position = divmod(number // self.pairs_per_visit, len(self.num_frames))
        clip = int(visiting_order(self.seed, epoch, len(self.num_frames))[position])
        draw = np.random.Generator(np.random.Philox(key=[self.seed, number], counter=[1, 0, 0, 0]))
        source, driving = draw.choice(self.num_frames[clip], size=2, replace=False)
        return clip, int(source), int(driving)


# A batch may reach from one epoch into the next; drawing an order anew for each pair would cost a million
# clips a pair.
@lru_cache(maxsize=2)
def visiting_order(seed: int, epoch: int, num_clips: int) -> Int64[np.ndarray, " N"]:
    """Return the order in which an epoch visits the clips."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_clips)
    order.flags.writeable = False
    return order


class PairLoader:
    """One rank's pairs by step: decoded here as bytes, made into images on the device they train on.

    A frame is a quarter of its image in memory, so that is what travels.

    Args:
        clips: what to read.
        sampler: which pairs.
        augmentation: how pairs are changed; None leaves them as they are.
    """

    def __init__(
        self, clips: ShardedClips, sampler: PairSampler, augmentation: AugmentationSettings | None = None
    ) -> None:
        self._clips = clips
        self._sampler = sampler
        self._augmentation = augmentation if augmentation and augmentation.changes_anything else None

    def frames(self, step: int) -> UInt8[Tensor, "B 2 S S 3"]:
        """Decode source and driving frame of every pair of the batch of `step`."""
        pairs = self._sampler.pairs(step)
        size_px = self._clips.size_px
        frames = np.empty((len(pairs), 2, size_px, size_px, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for place, (clip, *_) in enumerate(pairs):
            places.setdefault(clip, []).append(place)
        for clip, visited in places.items():
            files = self._clips.files(clip, {frame for place in visited for frame in pairs[place][1:]})
            for place in visited:
                for side, frame in enumerate(pairs[place][1:]):
                    frames[place, side] = decode_jpeg(files[frame])
        return torch.from_numpy(frames)

    def images(
        self, frames: UInt8[Tensor, "B 2 S S 3"], step: int
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 S S"]]:
        """Return (source, driving) in [-1, 1] of what `frames` gave for `step`, wherever that lies now."""
        # Put in order as bytes, of which there is a quarter.
        ordered = frames.permute(1, 0, 4, 2, 3).contiguous()
        source, driving = _scaled(ordered)
        if self._augmentation is not None:
            for place, number in enumerate(self._sampler.numbers(step)):
                change = draw_change(self._augmentation, self._sampler.seed, number)
                changed = apply_change(torch.stack((source[place], driving[place])), change)
                source[place], driving[place] = changed
        return source, driving
