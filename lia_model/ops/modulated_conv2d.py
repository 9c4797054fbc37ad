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

from lia_model.ops.bias_act import GAIN, bias_act, conv_act
from lia_model.ops.dispatch import Impl, takes_fused
from lia_model.ops.upfirdn2d import blur

EPSILON = 1e-8


def modulated_conv2d(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    style: Float[Tensor, "B I"],
    bias: Float[Tensor, " O"] | None = None,
    *,
    demodulate: bool | Float[Tensor, "O I"] = True,
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
        demodulate: give each output channel of each sample a weight of unit norm; `energy(weight)` says so
            too, and saves computing it again.
        upsample: transposed convolution of stride 2, then the FIR filter.
        impl: see `dispatch`.
    """
    exact = torch.promote_types(style.dtype, torch.float32)
    style, scale = style.to(exact), None
    if demodulate is not False:
        scale = _demodulation(energy(weight) if demodulate is True else demodulate, style)
    if _in_half(x):
        weight, style, factor = _within_half(weight, style)
        scale = factor if scale is None else scale * factor
    elif _has_fewer_weights(x, weight) and not takes_fused("bias_act", x, impl):
        return _convolve_one(x, weight, style, bias, scale, upsample)
    y = x * style.to(x.dtype)[:, :, None, None]
    y = _convolve(y, weight.to(x.dtype), upsample, impl)
    if bias is not None:
        return bias_act(y, bias, scale, overwrite=True, impl=impl)
    return y if scale is None else y * scale.to(y.dtype)[:, :, None, None]


def _convolve(y: Tensor, weight: Tensor, upsample: bool, impl: Impl) -> Tensor:
    if upsample:
        y = functional.conv_transpose2d(y, weight.transpose(0, 1), stride=2)
        return blur(y, (1, 1), gain=4.0, impl=impl)
    return functional.conv2d(y, weight, padding=weight.shape[-1] // 2)


def _has_fewer_weights(x: Tensor, weight: Tensor) -> bool:
    """Tell whether `x` is a single image of more numbers than `weight`, in inference."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return x.shape[0] == 1 and x.numel() > weight.numel()


def _convolve_one(
    x: Tensor, weight: Tensor, style: Tensor, bias: Tensor | None, scale: Tensor | None, upsample: bool
) -> Tensor:
    """Convolve a single image: its weights are scaled, and no pass over the image is left but activation."""
    each = weight * style[0, :, None, None]
    if scale is not None:
        each = each * scale[0, :, None, None, None]
    if bias is None:
        return _convolve(x, each.to(x.dtype), upsample, "reference")
    each, bias = (each * GAIN).to(x.dtype), bias * GAIN
    if not upsample:
        return conv_act(x, each, bias.to(x.dtype), padding_px=weight.shape[-1] // 2, impl="reference")
    y = _convolve(x, each, upsample, "reference")
    return bias_act(y, bias, gain=1.0, overwrite=True, impl="reference")


def modulated_projection(
    x: Float[Tensor, "B I H W"], weight: Float[Tensor, "O I 1 1"], style: Float[Tensor, "B I"]
) -> Float[Tensor, "B O H W"]:
    """Return the modulated 1×1 convolution without demodulation, in float32 at least, channels_last.

    Its few weights are scaled by the style, rather than `x`, which is large. Where `x` is float16, whose
    range is small, it computes in float32.
    """
    exact = torch.promote_types(style.dtype, torch.float32)
    each = weight.flatten(1).to(exact) * style.to(exact)[:, None]
    rows = x.flatten(2).transpose(1, 2).to(exact if _in_half(x) else x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        rows = rows @ each.to(rows.dtype).transpose(1, 2)
    return rows.to(exact).transpose(1, 2).unflatten(2, x.shape[2:])


def energy(weight: Float[Tensor, "O I k k"]) -> Float[Tensor, "O I"]:
    """Return the sum of squares of each kernel, in float32 at least."""
    return weight.to(torch.promote_types(weight.dtype, torch.float32)).square().sum(dim=(2, 3))


def _demodulation(energies: Float[Tensor, "O I"], style: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
    """Return 1 / norm of weight·style."""
    with torch.autocast(style.device.type, enabled=False):
        return (style.square() @ energies.to(style.dtype).T + EPSILON).rsqrt()


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
        on the output that takes both back.
    """
    weight = weight.to(style.dtype)
    largest = weight.abs().amax(dim=(1, 2, 3)).clamp(min=EPSILON) * math.sqrt(weight[0].numel())
    loudest = style.abs().amax(dim=1).clamp(min=EPSILON)
    return weight / largest[:, None, None, None], style / loudest[:, None], loudest[:, None] * largest
