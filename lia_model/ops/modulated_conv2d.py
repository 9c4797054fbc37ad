"""Convolution whose input channels are scaled by a style (Karras et al. 2020, StyleGAN2, section 2.2).

Scaling the weights per sample, as published, needs one grouped convolution per sample. Convolution is linear,
so the input is scaled instead, all samples share one convolution, and the demodulation scales its output.
Axes: B batch, I O input and output channels, H W pixels.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.ops.upfirdn2d import blur

EPSILON = 1e-8


def modulated_conv2d(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    style: Float[Tensor, "B I"],
    *,
    demodulate: bool = True,
    upsample: bool = False,
) -> Float[Tensor, "B O H2 W2"]:
    """Convolve `x` with `weight`·`style`, zero-padded to keep the size, or doubling it with `upsample`.

    Args:
        x: the input.
        weight: with its equalised learning-rate scale already in it.
        style: factor on each input channel.
        demodulate: give each output channel of each sample a weight of unit norm.
        upsample: transposed convolution of stride 2, then the FIR filter.
    """
    scaled = x * style.to(x.dtype)[:, :, None, None]
    if upsample:
        y = blur(functional.conv_transpose2d(scaled, weight.transpose(0, 1), stride=2), (1, 1), gain=4.0)
    else:
        y = functional.conv2d(scaled, weight, padding=weight.shape[-1] // 2)
    if demodulate:
        norm = style.square() @ weight.square().sum(dim=(2, 3)).T
        y = y * (norm + EPSILON).rsqrt().to(y.dtype)[:, :, None, None]
    return y
