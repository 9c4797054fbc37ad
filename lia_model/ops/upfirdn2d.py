"""Resampling of images with the FIR filter [1, 3, 3, 1] (Karras et al. 2020, StyleGAN2, appendix B).

Axes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(gain: float = 1.0) -> Float[Tensor, "4 4"]:
    """Return the outer product of the taps with themselves, of sum `gain`, in float32."""
    taps = torch.tensor(TAPS)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum() * gain


def _per_channel(kernel: Tensor, x: Tensor) -> Tensor:
    return kernel.to(device=x.device, dtype=x.dtype).expand(x.shape[1], 1, 4, 4)


def blur(
    x: Float[Tensor, "B C H W"], pad_px: tuple[int, int], gain: float = 1.0, stride: int = 1
) -> Float[Tensor, "B C H2 W2"]:
    """Filter after zero-padding both axes by `pad_px` (before, after), keeping every `stride`-th sample."""
    before, after = pad_px
    if before != after:
        x, before = functional.pad(x, (before, after, before, after)), 0
    kernel = _per_channel(fir_kernel(gain), x)
    return functional.conv2d(x, kernel, stride=stride, padding=before, groups=x.shape[1])


def upsample(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
    """Double both axes: a zero after each sample, 2 zeros before and 1 after, then the filter of gain 4."""
    kernel = _per_channel(fir_kernel(4.0), x)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
