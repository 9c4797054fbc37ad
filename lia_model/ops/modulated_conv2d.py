"""Convolution whose input channels are scaled by a style (Karras et al. 2020, StyleGAN2, section 2.2).

Scaling the weights per sample, as published, needs one grouped convolution per sample. Convolution is linear,
so the input is scaled instead, all samples share one convolution, and the demodulation scales its output.
Axes: B batch, I O input and output channels, H W pixels.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.ops.bias_act import bias_act
from lia_model.ops.dispatch import Impl
from lia_model.ops.upfirdn2d import blur

EPSILON = 1e-8


def modulated_conv2d(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    style: Float[Tensor, "B I"],
    bias: Float[Tensor, " O"] | None = None,
    *,
    demodulate: bool = True,
    upsample: bool = False,
    impl: Impl = "auto",
) -> Float[Tensor, "B O H2 W2"]:
    """Convolve `x` with `weight`·`style`, zero-padded to keep the size, or doubling it with `upsample`.

    The convolution is the library's; `impl` chooses what stands around it.

    Args:
        x: the input.
        weight: with its equalised learning-rate scale already in it.
        style: factor on each input channel.
        bias: with it, `bias_act` follows; None leaves the convolution bare.
        demodulate: give each output channel of each sample a weight of unit norm.
        upsample: transposed convolution of stride 2, then the FIR filter.
        impl: see `dispatch`.
    """
    exact = torch.promote_types(style.dtype, torch.float32)
    style, factor = style.to(exact), None
    if _in_half(x):
        weight, style, factor = _within_half(weight.to(exact), style)
    scale = factor
    if demodulate:
        scale = _demodulation(weight.to(exact), style, factor)
    y = x * style.to(x.dtype)[:, :, None, None]
    if upsample:
        y = functional.conv_transpose2d(y, weight.to(x.dtype).transpose(0, 1), stride=2)
        y = blur(y, (1, 1), gain=4.0, impl=impl)
    else:
        y = functional.conv2d(y, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    if bias is not None:
        return bias_act(y, bias, scale, impl=impl)
    return y if scale is None else y * scale.to(y.dtype)[:, :, None, None]


def _demodulation(
    weight: Float[Tensor, "O I k k"], style: Float[Tensor, "B I"], factor: Float[Tensor, "B O"] | None
) -> Float[Tensor, "B O"]:
    """Return 1 / norm of weight·style; where both were divided, `factor` is what takes that back."""
    with torch.autocast(style.device.type, enabled=False):
        norm = style.square() @ weight.square().sum(dim=(2, 3)).T
        return (norm + (EPSILON if factor is None else EPSILON / factor.square())).rsqrt()


def _in_half(x: Tensor) -> bool:
    """Tell whether the convolution of `x` runs in float16, whose largest number is 65504."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device) == torch.float16
    return x.dtype == torch.float16


def _within_half(
    weight: Float[Tensor, "O I k k"], style: Float[Tensor, "B I"]
) -> tuple[Float[Tensor, "O I k k"], Float[Tensor, "B I"], Float[Tensor, "B O"]]:
    """Divide weight and style by their largest entries, so that neither the input nor a sum overflows.

    Returns:
        The weight, each output channel at most 1/√(fan-in); the style, each sample at most 1; and the factor
        on the output that takes both back. Demodulation makes that factor needless.
    """
    largest = weight.abs().amax(dim=(1, 2, 3)).clamp(min=EPSILON) * math.sqrt(weight[0].numel())
    loudest = style.abs().amax(dim=1).clamp(min=EPSILON)
    return weight / largest[:, None, None, None], style / loudest[:, None], loudest[:, None] * largest
