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
from lia_model.training.pairs.augmentation import apply_change, draw_change
from lia_model.training.pairs.damage import ReplacedPair
from lia_model.training.pairs.decoder import PairDecoder
from lia_model.training.pairs.draw import PairDraw


class PairLoader:
    """Loads pairs by their numbers; a pair with a frame that does not decode is replaced.

    Frames are decoded to bytes on the CPU and converted to floats on the training device, since bytes are a
    quarter of the size to copy.

    Args:
        clips: where pairs are read from.
        draw: which pair each number stands for.
        augmentation: random changes of the pairs; None for none.
    """

    def __init__(
        self, clips: ShardedClips, draw: PairDraw, augmentation: AugmentationSettings | None = None
    ) -> None:
        self._decoder = PairDecoder(clips, draw)
        self._draw = draw
        self._augmentation = augmentation if augmentation and augmentation.changes_anything else None

    def frames(self, numbers: range) -> UInt8[Tensor, "B 2 S S 3"]:
        """Decode the source and driving frame of each pair of these numbers."""
        return torch.from_numpy(self._decoder.decode(numbers))

    def take_replaced(self, num_pairs: int) -> list[ReplacedPair]:
        """Return those of the first `num_pairs` of the run that were replaced here, each one once."""
        return self._decoder.take_replaced(num_pairs)

    def images(
        self, frames: UInt8[Tensor, "B 2 S S 3"], numbers: range
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 S S"]]:
        """Convert the `frames` of these pairs to augmented (source, driving) in [-1, 1], on their device."""
        # Transposed as bytes, a quarter of the size.
        ordered = frames.permute(1, 0, 4, 2, 3).contiguous()
        source, driving = to_range(ordered)
        if self._augmentation is not None:
            for place, number in enumerate(numbers):
                change = draw_change(self._augmentation, self._draw.seed, number)
                changed = apply_change(torch.stack((source[place], driving[place])), change)
                source[place], driving[place] = changed
        return source, driving
