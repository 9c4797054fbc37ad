"""The fused kernels, in Triton, registered with `torch.library` under `lia::`.

The ops import this package when they first need a kernel, since the core runs without Triton. Kernels are
marked `no_type_check` because Triton reads their source, which the tests' shape checks would wrap.
Axes of a tile: P positions (pixels, H·W flattened), C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from triton import knobs

# Read at import, like Triton itself, which then decides whether to compile or interpret.
INTERPRETED = bool(knobs.runtime.interpret)
TILE = 1024


def is_channels_last(x: Tensor) -> bool:
    """Return whether channels are adjacent in memory."""
    # bool, since torch.compile traces with symbolic sizes, whose comparison is a symbol too.
    return x.ndim == 2 or bool(x.ndim == 4 and x.stride(1) == 1 and x.shape[1] > 1)


def dense(x: Tensor) -> Tensor:
    """Return `x` contiguous in its own layout."""
    last = x.ndim == 4 and is_channels_last(x)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def power_of_2(count: int) -> int:
    """Return the smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()


def tile(num_positions: int, num_channels: int, channels_last: bool) -> tuple[int, int]:
    """Return the sides P and C of a tile, powers of two, with the longer along contiguous memory."""
    positions, channels = power_of_2(num_positions), power_of_2(num_channels)
    if channels_last:
        channels = min(channels, TILE // 4)
        return min(positions, TILE // channels), channels
    positions = min(positions, TILE)
    return positions, min(channels, TILE // positions)


def require_small(x: Tensor) -> None:
    """Check that 32-bit offsets reach every element.

    Raises:
        ValueError: the tensor is too large.
    """
    if x.numel() >= 2**31:
        raise ValueError(
            f"got a tensor of {x.numel()} elements; fused kernels take fewer than 2**31: use smaller batches"
        )
