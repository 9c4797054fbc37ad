"""The floor: LIA's convolutions alone, back to back, with nothing between them.

One driving frame is encoded once and painted once, with the source's features kept; every input lies ready in
channels_last. No program that computes these convolutions by the same library can be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch.nn import functional

from lia_model.networks.layers import num_channels, octaves
from lia_model.settings import NetworkSettings


class Convolution(NamedTuple):
    """Shape of one convolution."""

    num_in: int
    num_out: int
    kernel_px: int
    in_side_px: int
    stride: int = 1
    is_transposed: bool = False
    padding_px: int = 0

    def flop(self) -> int:
        """Return 2 for each multiply-add of one image."""
        side = self.in_side_px
        if not self.is_transposed:
            side = (side + 2 * self.padding_px - self.kernel_px) // self.stride + 1
        return 2 * self.num_in * self.num_out * self.kernel_px**2 * side**2


def convolutions(settings: NetworkSettings) -> Iterator[Convolution]:
    """Yield those of one encoder pass and one decoder pass."""
    sides = octaves(settings.size_px)[::-1]
    channels = [num_channels(side, settings.width) for side in [*sides, 4]]
    yield Convolution(3, channels[0], 1, sides[0])
    for side, (num_in, num_out) in zip(sides, pairwise(channels), strict=True):
        yield Convolution(num_in, num_in, 3, side, padding_px=1)
        # The filter before a stride of 2 leaves one pixel more, or one less for the skip.
        yield Convolution(num_in, num_out, 3, side + 1, stride=2)
        yield Convolution(num_in, num_out, 1, side // 2)
    yield Convolution(channels[-1], settings.latent_dim, 4, 4)
    yield Convolution(channels[-1], channels[-1], 3, 4, padding_px=1)
    for side, (num_out, num_in) in zip(sides[::-1], list(pairwise(channels))[::-1], strict=True):
        yield Convolution(num_in, num_out, 3, side // 2, stride=2, is_transposed=True)
        yield Convolution(num_out, num_out, 3, side, padding_px=1)
        yield Convolution(num_out, 3, 1, side)
        yield Convolution(num_out, 3, 1, side)


def build_floor(
    settings: NetworkSettings, batch_size: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """Return a function that runs them all once."""
    prepared = []
    for shape in convolutions(settings):
        sides = (shape.in_side_px, shape.in_side_px)
        x = torch.randn(batch_size, shape.num_in, *sides, device=device, dtype=dtype)
        ends = (shape.num_in, shape.num_out) if shape.is_transposed else (shape.num_out, shape.num_in)
        weight = torch.randn(*ends, shape.kernel_px, shape.kernel_px, device=device, dtype=dtype)
        layout = torch.channels_last
        prepared.append((shape, x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)))

    @torch.inference_mode()
    def run() -> None:
        for shape, x, weight in prepared:
            if shape.is_transposed:
                functional.conv_transpose2d(x, weight, stride=shape.stride)
            else:
                functional.conv2d(x, weight, stride=shape.stride, padding=shape.padding_px)

    return run
