"""Bias and leaky ReLU (Karras et al. 2020, StyleGAN2, appendix B).

Axes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.ops.dispatch import Impl, takes_fused

NEGATIVE_SLOPE = 0.2
GAIN = math.sqrt(2)


def bias_act(
    x: Float[Tensor, "B C *HW"],
    bias: Float[Tensor, " C"],
    scale: Float[Tensor, "B C"] | None = None,
    *,
    gain: float = GAIN,
    after: Float[Tensor, "B C"] | None = None,
    overwrite: bool = False,
    impl: Impl = "auto",
) -> Float[Tensor, "B C *HW"]:
    """Scale, add `bias` to every channel, then leaky ReLU of slope 0.2, times `gain` and `after`.

    Gradients of every order exist.

    Args:
        x: the input, whose type and layout the output has.
        bias: added to each channel.
        scale: factor on each channel of each sample; None for 1.
        gain: √2 keeps the variance.
        after: factor on each channel of each sample of the result; None for 1.
        overwrite: the caller needs `x` no more. On a CPU fresh memory costs more than the arithmetic.
        impl: see `dispatch`.
    """
    if takes_fused("bias_act", x, impl):
        # Imported here because the core must run without Triton.
        from lia_model.ops.kernels.bias_act import bias_act as fused

        if after is None or not torch.is_grad_enabled():
            return fused(x, bias, scale, gain, after)
        # Gradients take the sign of what is activated from the output, which the factor might change.
        return _multiplied(fused(x, bias, scale, gain), after)
    # The compiler plans its own memory, and refuses an output that is not contiguous.
    in_place = overwrite and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    y = _reference(x, bias, scale, gain, out=x if in_place else None)
    return y if after is None else _multiplied(y, after)


def conv_act(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    bias: Float[Tensor, " O"],
    *,
    stride: int = 1,
    padding_px: int = 0,
    impl: Impl = "auto",
) -> Float[Tensor, "B O H2 W2"]:
    """Convolve, add `bias`, then leaky ReLU of slope 0.2; a gain belongs in both `weight` and `bias`."""
    if takes_fused("bias_act", x, impl):
        y = functional.conv2d(x, weight, stride=stride, padding=padding_px)
        return bias_act(y, bias, gain=1.0, impl="fused")
    # A CPU's convolution adds the bias on the way, and its output is nobody else's.
    y = functional.conv2d(x, weight, bias, stride=stride, padding=padding_px)
    return functional.leaky_relu_(y, NEGATIVE_SLOPE)


def _reference(
    x: Tensor, bias: Tensor, scale: Tensor | None, gain: float, out: Tensor | None = None
) -> Tensor:
    """Leaky ReLU commutes with a positive factor, so the gain goes where it costs no pass over `x`."""
    ones = [1] * (x.ndim - 2)
    shift = (bias * gain).to(x.dtype).view(1, -1, *ones)
    if scale is None and x.ndim == 2 and torch.compiler.is_compiling():
        # Inductor turns a matrix product and `torch.add(..., alpha=gain)` into one call and forgets the gain
        # (torch 2.13).
        shifted = shift + x * gain
    elif scale is None:
        shifted = torch.add(shift, x, alpha=gain, out=out)
    else:
        shifted = torch.addcmul(shift, x, (scale * gain).to(x.dtype).view(*scale.shape, *ones), out=out)
    return functional.leaky_relu_(shifted, NEGATIVE_SLOPE)


def _multiplied(y: Tensor, factor: Tensor) -> Tensor:
    return y * factor.to(y.dtype).view(*factor.shape, *[1] * (y.ndim - 2))
