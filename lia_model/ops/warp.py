"""Warp source features along a flow and blend them in (Wang et al. 2022, section 3.3).

Axes: B batch, C channels, R side of the square feature map in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def identity_grid(side_px: int) -> Float[Tensor, "R R 2"]:
    """Return x and y of every pixel in [-1, 1], corners at ±1, in float32.

    numpy's float64 linspace is rounded to float32 because torch.linspace differs in the last bit from the
    grid that published weights were trained with.
    """
    axis = torch.from_numpy(np.linspace(-1.0, 1.0, side_px).astype(np.float32))
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), dim=-1)


def flow_warp(
    flow: Float[Tensor, "B 3 R R"],
    feature: Float[Tensor, "B C R R"],
    x: Float[Tensor, "B C R R"],
    grid: Float[Tensor, "R R 2"],
) -> tuple[Float[Tensor, "B C R R"], Float[Tensor, "B C R R"]]:
    """Return the masked warp of `feature`, and that blended over `x`.

    Args:
        flow: raw x, y and mask; tanh makes the first two an offset in [-1, 1], sigmoid the third a weight.
        feature: what is sampled, bilinearly, zero outside.
        x: what shows where the mask is 0.
        grid: `identity_grid` of side R. Sampling takes its ±1 for pixel edges (`align_corners=False`)
        although they
            were laid at pixel centres: the published weights contain that half-pixel shrink.
    """
    # A half-precision grid would be a quarter of a pixel off at 256.
    exact = torch.promote_types(flow.dtype, torch.float32)
    offset = torch.tanh(flow[:, :2].to(exact)).permute(0, 2, 3, 1)
    mask = torch.sigmoid(flow[:, 2:3])
    sampled = functional.grid_sample(
        feature.to(exact),
        grid.to(exact) + offset,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    warped = sampled.to(x.dtype) * mask
    return warped, warped + x * (1 - mask)
