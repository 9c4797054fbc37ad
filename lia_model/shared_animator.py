"""An animator for several jobs at a time, whose frames it computes in common batches.

A GPU computes a batch of few frames little faster than a full one, and idles while a job decodes or encodes.
On a CPU the time grows with the frames, so that nothing is gained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from lia_model.animator import Animator, Portrait, require_picture
from lia_model.checkpoints.crop_record import UNRECORDED
from lia_model.device.common_batches import CommonBatches
from lia_model.device.host_copies import Finish
from lia_model.networks.generator import Generator
from lia_model.settings import Compilation, Precision
from preprocessing.shards.manifest import CropFacts


class _Move(NamedTuple):
    portrait: Portrait
    walk: Float32[np.ndarray, " K"]


class SharedAnimator(Animator):
    """An animator whose calls may run in several threads; frames of a source video have batches of their own.

    A frame's last bits may depend on the frames it shares a batch with.
    """

    def __init__(
        self,
        generator: Generator,
        device: str = "cpu",
        precision: Precision = "auto",
        compilation: Compilation = "none",
        crop: CropFacts = UNRECORDED,
    ) -> None:
        super().__init__(generator, device, precision, compilation, crop)
        self._driving: CommonBatches[np.ndarray] = CommonBatches(self._num_ahead)
        self._painted: CommonBatches[_Move] = CommonBatches(self._num_ahead)

    def warm_up(self, batch_size: int) -> float:
        """Also compile or record batches of several portraits; see `Animator.warm_up`."""
        start_s = time.perf_counter()
        super().warm_up(batch_size)
        black = np.zeros((self.size_px, self.size_px, 3), np.uint8)
        portraits = [self._encode(black, batch_size) for _ in range(min(2, batch_size))]
        still = np.zeros(self.generator.settings.num_directions, np.float32)
        self._paint_all([_Move(portrait, still) for portrait in portraits], batch_size)()
        return time.perf_counter() - start_s

    def _weigh(self, images: list[np.ndarray], batch_size: int) -> Finish:
        # Before they join: a wrong picture would fail the others in its batch.
        for image in images:
            require_picture(image)
        return self._driving.submit(images, batch_size, self._weigh_all)

    def _paint(self, portrait: Portrait, walks: list[np.ndarray], batch_size: int) -> Finish:
        moves = [_Move(portrait, walk) for walk in walks]
        return self._painted.submit(moves, batch_size, self._paint_all)

    def _weigh_all(self, images: Sequence[np.ndarray], batch_size: int) -> Finish:
        return super()._weigh(list(images), batch_size)

    def _paint_all(self, moves: Sequence[_Move], batch_size: int) -> Finish:
        portraits, walks = zip(*self._full(list(moves), batch_size), strict=True)
        return super()._paint(_joined(portraits), list(walks), batch_size)


def _joined(portraits: Sequence[Portrait]) -> Portrait:
    """Return one portrait for each row of a batch; a single one if all are the same."""
    first = portraits[0]
    if all(portrait is first for portrait in portraits):
        return first
    codes, features, weights = zip(*portraits, strict=True)
    return Portrait(
        torch.cat(codes), [torch.cat(level) for level in zip(*features, strict=True)], torch.cat(weights)
    )
