"""Training pairs as image tensors: decoded from the shards and augmented.

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lia_model.data.pixels import to_range
from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import AugmentationSettings
from lia_model.training.augmentation import apply_change, draw_change
from lia_model.training.damage import ReplacedPair
from lia_model.training.pair_decoder import PairDecoder
from lia_model.training.pair_sampler import PairSampler


class PairLoader:
    """Loads one rank's pairs by step; a pair with a frame that does not decode is replaced.

    Frames are decoded to bytes on the CPU and converted to floats on the training device, since bytes are a
    quarter of the size to copy.

    Args:
        clips: where pairs are read from.
        sampler: which pairs.
        augmentation: random changes of the pairs; None for none.
    """

    def __init__(
        self, clips: ShardedClips, sampler: PairSampler, augmentation: AugmentationSettings | None = None
    ) -> None:
        self._decoder = PairDecoder(clips, sampler.draw)
        self._sampler = sampler
        self._augmentation = augmentation if augmentation and augmentation.changes_anything else None

    def frames(self, step: int) -> UInt8[Tensor, "B 2 S S 3"]:
        """Decode the source and driving frame of every pair of the batch at `step`."""
        return torch.from_numpy(self._decoder.decode(self._sampler.numbers(step)))

    def take_replaced(self, step: int) -> tuple[int, list[ReplacedPair]]:
        """Return how many pairs all ranks consumed before `step`, and those that this rank replaced.

        Each replaced pair is returned once.
        """
        num_pairs = self._sampler.num_pairs_before(step)
        return num_pairs, self._decoder.take_replaced(num_pairs)

    def images(
        self, frames: UInt8[Tensor, "B 2 S S 3"], step: int
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 S S"]]:
        """Convert the `frames` of `step` to augmented (source, driving) in [-1, 1], on their device."""
        # Transposed as bytes, a quarter of the size.
        ordered = frames.permute(1, 0, 4, 2, 3).contiguous()
        source, driving = to_range(ordered)
        if self._augmentation is not None:
            for place, number in enumerate(self._sampler.numbers(step)):
                change = draw_change(self._augmentation, self._sampler.draw.seed, number)
                changed = apply_change(torch.stack((source[place], driving[place])), change)
                source[place], driving[place] = changed
        return source, driving
