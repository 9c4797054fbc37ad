"""The fused kernels, in Triton, registered with `torch.library` under `lia::`.

Imported by the ops when they first need one, never before: the core runs without Triton. Kernels carry
`no_type_check` because Triton reads their source, which the tests' shape checks would wrap.
Axes of a tile: P positions (pixels, H·W flattened), C channels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from triton import knobs

# Fixed at import: the same setting decides then whether Triton compiles or interprets.
INTERPRETED = bool(knobs.runtime.interpret)
TILE = 1024


def is_channels_last(x: Tensor) -> bool:
    """Tell whether channels are what lies side by side in memory."""
    # bool, since the sizes that torch.compile traces with are symbols, and answer with one.
    return x.ndim == 2 or bool(x.ndim == 4 and x.stride(1) == 1 and x.shape[1] > 1)


def dense(x: Tensor) -> Tensor:
    """Return `x` without gaps, in its own layout."""
    last = x.ndim == 4 and is_channels_last(x)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def with_strides_of(like: Tensor, x: Tensor) -> Tensor:
    """Return `x` in the strides of `like`, which has its shape and no gaps; copied only where they differ."""
    strides = zip(x.shape, x.stride(), like.stride(), strict=True)
    if all(own == other for size, own, other in strides if size > 1):
        return x
    return torch.empty_like(like, dtype=x.dtype).copy_(x)


def on_device(x: Tensor) -> AbstractContextManager[object]:
    """Make the GPU of `x` the current one: Triton launches there, whatever GPU its tensors are on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def power_of_2(count: int) -> int:
    """Return the smallest power of two that is not below `count`."""
    return 1 << (count - 1).bit_length()


def tile(num_positions: int, num_channels: int, channels_last: bool) -> tuple[int, int]:
    """Return the sides P and C of a tile, powers of two, long where memory is contiguous."""
    positions, channels = power_of_2(num_positions), power_of_2(num_channels)
    if channels_last:
        channels = min(channels, TILE // 4)
        return min(positions, TILE // channels), channels
    positions = min(positions, TILE)
    return positions, min(channels, TILE // positions)


def require_small(x: Tensor) -> None:
    """Check that 32-bit offsets reach every element.

    Raises:
        ValueError: they do not.
    """
    if x.numel() >= 2**31:
        raise ValueError(
            f"got a tensor of {x.numel()} elements; fused kernels take fewer than 2**31: use smaller batches"
        )
