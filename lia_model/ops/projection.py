"""1×1 convolutions that read a flow or colours off features, and add those of the octave below.

Wang et al. 2022, appendix A. Axes: B batch, I O input and output channels, R side of the map in pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lia_model.ops.bias_act import conv_act
from lia_model.ops.dispatch import Impl, takes_fused
from lia_model.ops.upfirdn2d import upsample


def modulated_projection(
    x: Float[Tensor, "B I R R"],
    weight: Float[Tensor, "O I 1 1"],
    style: Float[Tensor, "B I"],
    bias: Float[Tensor, " O"],
    below: Float[Tensor, "B O R//2 R//2"] | None = None,
    impl: Impl = "auto",
) -> Float[Tensor, "B O R R"]:
    """Return the modulated 1×1 convolution without demodulation, plus bias and `below` doubled.

    It is float32 at least, whatever type `x` has: a flow in half precision would be off by a tenth of a pixel
    at 256. Its few weights are scaled by the style, rather than `x`, which is large. First gradients exist.
    """
    exact = torch.promote_types(style.dtype, torch.float32)
    each = weight.flatten(1).to(exact) * style.to(exact)[:, None]
    if takes_fused("projection", x, impl):
        return _fused(x, each, bias, None, below)
    with torch.autocast(x.device.type, enabled=False):
        rows = x.flatten(2).transpose(1, 2).to(exact) @ each.transpose(1, 2)
    y = rows.transpose(1, 2).unflatten(2, x.shape[2:]) + bias.view(1, -1, 1, 1)
    return y if below is None else y + upsample(below, impl)


def color_projection(
    x: Float[Tensor, "B I R R"],
    weight: Float[Tensor, "O I 1 1"],
    bias: Float[Tensor, " O"],
    shift: Float[Tensor, " O"],
    below: Float[Tensor, "B O R//2 R//2"] | None = None,
    impl: Impl = "auto",
) -> Float[Tensor, "B O R R"]:
    """Return `conv_act` of a 1×1 convolution, plus `shift` and `below` doubled."""
    if not torch.is_grad_enabled() and takes_fused("projection", x, impl):
        each = weight.flatten(1).expand(len(x), -1, -1)
        return _fused(x, each, bias, shift, below)
    y = conv_act(x, weight, bias, impl=impl) + shift.view(1, -1, 1, 1)
    return y if below is None else y + upsample(below, impl)


def _fused(
    x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, below: Tensor | None
) -> Float[Tensor, "B O R R"]:
    # Imported here because the core must run without Triton.
    from lia_model.ops.kernels.projection import projection

    return projection(x, weight, bias, shift, below)
