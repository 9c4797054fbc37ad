"""Bias and leaky ReLU (Karras et al. 2020, StyleGAN2, appendix B).

Axes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

NEGATIVE_SLOPE = 0.2
GAIN = math.sqrt(2)


def bias_act(x: Float[Tensor, "B C *HW"], bias: Float[Tensor, " C"]) -> Float[Tensor, "B C *HW"]:
    """Add `bias` to every channel, then leaky ReLU of slope 0.2, times √2 so that the variance is kept."""
    shifted = x + bias.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
    return functional.leaky_relu(shifted, NEGATIVE_SLOPE) * GAIN
