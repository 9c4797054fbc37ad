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
    demodulate: bool | Float[Tensor, "B O"] = True,
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
        demodulate: give each output channel of each sample a weight of unit norm. A tensor is what does so,
            for a `normalized` weight and, in float16, a style `within_half`; neither is computed again.
        upsample: transposed convolution of stride 2, then the FIR filter.
        impl: see `dispatch`.
    """
    style = style.to(torch.promote_types(style.dtype, torch.float32))
    scale = demodulate if isinstance(demodulate, Tensor) else None
    if demodulate is True:
        scale = demodulation(energy(weight), style)
    if runs_in_half(x):
        if not isinstance(demodulate, Tensor):
            weight, powers = normalized(weight.to(style.dtype))
            style, loudest = within_half(style)
            factor = loudest * powers
            scale = factor if scale is None else scale * factor
    elif _has_fewer_weights(x, weight) and not takes_fused("bias_act", x, impl):
        return _convolve_one(x, weight, style, bias, scale, upsample)
    y = modulated(x, style, impl)
    if bias is not None:
        return convolve_modulated(y, weight, bias, scale, upsample=upsample, impl=impl)
    y = _convolve(y, weight.to(x.dtype), upsample, impl)
    return y if scale is None else y * scale.to(y.dtype)[:, :, None, None]


def modulates_ahead(x: Float[Tensor, "B I H W"], impl: Impl = "auto") -> bool:
    """Tell whether an activation applies the next layer's style in its own launch: fused, in inference."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return takes_fused("bias_act", x, impl)


def modulated(
    x: Float[Tensor, "B I H W"], style: Float[Tensor, "B I"], impl: Impl = "auto"
) -> Float[Tensor, "B I H W"]:
    """Return `x` times the style, in the type of `x`."""
    each = style[:, :, None, None]
    if not modulates_ahead(x, impl):
        return x * each.to(x.dtype)
    # In one launch, whatever the two types are; gradients need the other way.
    return torch.mul(x, each, out=torch.empty_like(x))


def convolve_modulated(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    bias: Float[Tensor, " O"],
    scale: Float[Tensor, "B O"] | None,
    after: Float[Tensor, "B O"] | None = None,
    *,
    upsample: bool = False,
    impl: Impl = "auto",
) -> Float[Tensor, "B O H2 W2"]:
    """Return the rest of `modulated_conv2d`, of a `modulated` input, times `after`.

    Args:
        x: the input.
        weight: as there.
        bias: as there.
        scale: the demodulation, and what else the output is multiplied by before the bias is added.
        after: the style of the next layer, whose input is then `modulated` already; None for 1.
        upsample: as there.
        impl: as there.
    """
    y = _convolve(x, weight.to(x.dtype), upsample, impl)
    return bias_act(y, bias, scale, after=after, overwrite=True, impl=impl)


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


def energy(weight: Float[Tensor, "O I k k"]) -> Float[Tensor, "O I"]:
    """Return the sum of squares of each kernel, in float32 at least."""
    return weight.to(torch.promote_types(weight.dtype, torch.float32)).square().sum(dim=(2, 3))


def demodulation(
    energies: Float[Tensor, "O I"],
    style: Float[Tensor, "B I"],
    epsilon: float | Float[Tensor, " O"] = EPSILON,
) -> Float[Tensor, "B O"]:
    """Return 1 / norm of weight·style; `epsilon` is added to the square of each norm."""
    with torch.autocast(style.device.type, enabled=False):
        return (style.square() @ energies.to(style.dtype).T + epsilon).rsqrt()


def normalized(
    weight: Float[Tensor, "O I k k"],
) -> tuple[Float[Tensor, "O I k k"], Float[Tensor, " O"]]:
    """Return each output channel divided by a power of 2, and those powers; demodulation takes them back.

    Its weights are then at most 1/√(fan-in), so that no sum overflows in float16.
    """
    largest = weight.abs().amax(dim=(1, 2, 3)).clamp(min=EPSILON) * math.sqrt(weight[0].numel())
    powers = largest.log2().ceil().exp2()
    return weight / powers[:, None, None, None], powers


def runs_in_half(x: Tensor) -> bool:
    """Tell whether the convolution of `x` runs in float16, whose largest number is 65504."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device) == torch.float16
    return x.dtype == torch.float16


def within_half(style: Float[Tensor, "B I"]) -> tuple[Float[Tensor, "B I"], Float[Tensor, "B 1"]]:
    """Return the style divided by its largest entry, so that the input does not overflow; and that entry."""
    loudest = style.abs().amax(dim=1, keepdim=True).clamp(min=EPSILON)
    return style / loudest, loudest
