"""Training pairs: two frames of one clip, drawn, decoded and augmented.

The pairs of a step are a pure function of (seed, step, rank): any number of workers sees every clip, and
resuming needs nothing but the step.
Axes: B batch, N clips, S side of the image in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from lia_model.data.pixels import decode_jpeg, to_range
from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import AugmentationSettings
from lia_model.training.augmentation import apply_change, draw_change


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
        source, driving = to_range(ordered)
        if self._augmentation is not None:
            for place, number in enumerate(self._sampler.numbers(step)):
                change = draw_change(self._augmentation, self._sampler.seed, number)
                changed = apply_change(torch.stack((source[place], driving[place])), change)
                source[place], driving[place] = changed
        return source, driving
