"""Resampling of images with the FIR filter [1, 3, 3, 1] (Karras et al. 2020, StyleGAN2, appendix B).

Gradients of every order exist. Axes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.ops.dispatch import Impl, takes_fused

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(
    gain: float = 1.0, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Float[Tensor, "4 4"]:
    """Return the outer product of the taps with themselves, of sum `gain`."""
    # Multiplied as Python's numbers: one tensor is made, where a dozen kernels a frame would take five each.
    factor = gain / sum(TAPS) ** 2
    return torch.tensor([[a * b * factor for a in TAPS] for b in TAPS], dtype=dtype, device=device)


def blur(
    x: Float[Tensor, "B C H W"],
    pad_px: tuple[int, int],
    gain: float = 1.0,
    stride: int = 1,
    impl: Impl = "auto",
) -> Float[Tensor, "B C H2 W2"]:
    """Filter after zero-padding both axes by `pad_px` (before, after), keeping every `stride`-th sample."""
    before, after = pad_px
    if takes_fused("upfirdn2d", x, impl):
        height, width = ((side + before + after - len(TAPS)) // stride + 1 for side in x.shape[2:])
        return _fused(x, 1, stride, before, height, width, gain)
    return _reference_blur(x, before, after, gain, stride)


def upsample(x: Float[Tensor, "B C H W"], impl: Impl = "auto") -> Float[Tensor, "B C 2*H 2*W"]:
    """Double both axes: a zero after each sample, 2 zeros before and 1 after, then the filter of gain 4."""
    if takes_fused("upfirdn2d", x, impl):
        return _fused(x, 2, 1, 2, 2 * x.shape[2], 2 * x.shape[3], 4.0)
    return _reference_upsample(x)


def _reference_blur(x: Tensor, before: int, after: int, gain: float, stride: int) -> Tensor:
    """One depthwise convolution: in channels_last on a CPU, two of one axis each are no faster."""
    if before != after:
        x, before = functional.pad(x, (before, after, before, after)), 0
    kernel = _per_channel(gain, x)
    return functional.conv2d(x, kernel, stride=stride, padding=before, groups=x.shape[1])


def _reference_upsample(x: Tensor) -> Tensor:
    kernel = _per_channel(4.0, x)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def _per_channel(gain: float, x: Tensor) -> Tensor:
    return fir_kernel(gain, x.dtype, x.device).expand(x.shape[1], 1, 4, 4)


def _fused(x: Tensor, up: int, down: int, before: int, height: int, width: int, gain: float) -> Tensor:
    # Imported here because the core must run without Triton.
    from lia_model.ops.kernels.upfirdn2d import upfirdn2d

    return upfirdn2d(x, up, down, before, height, width, gain)
