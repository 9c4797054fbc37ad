"""Warp source features along a flow and blend them in (Wang et al. 2022, section 3.3).

Axes: B batch, C channels, R side of the square feature map in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.ops.dispatch import Impl, takes_fused


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
    impl: Impl = "auto",
) -> tuple[Float[Tensor, "B C R R"], Float[Tensor, "B C R R"]]:
    """Return the masked warp of `feature`, and that blended over `x`, both of the type and layout of `x`.

    First gradients exist; `grid` gets none.

    Args:
        flow: raw x, y and mask; tanh makes the first two an offset in [-1, 1], sigmoid the third a weight.
        feature: what is sampled, bilinearly, zero outside. One feature expanded over the batch is not copied.
        x: what shows where the mask is 0.
        grid: `identity_grid` of side R. Sampling takes its ±1 for pixel edges (`align_corners=False`)
            although they were laid at pixel centres: the published weights contain that half-pixel shrink.
        impl: see `dispatch`.
    """
    if takes_fused("flow_warp", x, impl):
        # Imported here because the core must run without Triton.
        from lia_model.ops.kernels.warp import flow_warp as fused

        return fused(flow, feature, x, grid)
    # A half-precision grid would be a quarter of a pixel off at 256.
    exact = torch.promote_types(flow.dtype, torch.float32)
    # The mask's tanh goes unused: a slice of channels is not dense, and took five times as long.
    where = grid.to(exact) + torch.tanh(flow.to(exact))[:, :2].permute(0, 2, 3, 1)
    mask = torch.sigmoid(flow[:, 2:3])
    channels_last = x.stride(1) == 1 and x.shape[1] > 1
    # grid_sample walks memory channel by channel, several times slower where channels lie side by side; but
    # its gradients are twice as fast as those of rows.
    in_rows = channels_last and feature.stride(1) == 1 and not torch.is_grad_enabled()
    if x.device.type == "cpu" and in_rows:
        warped = _gather(feature, where, mask).to(x.dtype)
    else:
        sampled = functional.grid_sample(
            feature.to(exact), where, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        warped = sampled.to(x.dtype) * mask.to(x.dtype)
        if channels_last:
            warped = warped.contiguous(memory_format=torch.channels_last)
    return warped, torch.addcmul(warped, x, (1 - mask).to(x.dtype))


def _gather(
    feature: Float[Tensor, "B C R R"], where: Float[Tensor, "B R R 2"], mask: Float[Tensor, "B 1 R R"]
) -> Float[Tensor, "B C R R"]:
    """Sample as grid_sample does, times `mask`: each pixel is a weighted sum of four rows of C channels."""
    batch, channels, side, _ = feature.shape
    last = side - 1
    pixel = ((where + 1) * side - 1) / 2
    first = pixel.floor()
    part = pixel - first
    column, row = first.int().unbind(-1)
    right, below = part.unbind(-1)
    masked = mask[:, 0]
    shares_x = ((1 - right) * _inside(column, last), right * _inside(column + 1, last))
    shares_y = ((1 - below) * masked * _inside(row, last), below * masked * _inside(row + 1, last))
    # Clamped as integers: what is not a number would otherwise point outside.
    columns = (column.clamp(0, last), (column + 1).clamp(0, last))
    rows = (row.clamp(0, last) * side, (row + 1).clamp(0, last) * side)
    if feature.stride(0) == 0:
        feature = feature[:1]
    elif batch > 1:
        image = (torch.arange(batch, dtype=torch.int32, device=row.device) * side**2).view(-1, 1, 1)
        rows = (rows[0] + image, rows[1] + image)
    # Whole planes, woven together once: a loop over four neighbours in memory is not vectorised.
    corners = torch.stack([y + x for y in rows for x in columns], dim=-1)
    shares = torch.stack([y * x for y in shares_y for x in shares_x], dim=-1)
    sampled = functional.embedding_bag(
        corners.view(-1, 4),
        feature.permute(0, 2, 3, 1).reshape(-1, channels),
        per_sample_weights=shares.view(-1, 4).to(feature.dtype),
        mode="sum",
    )
    return sampled.view(batch, side, side, channels).permute(0, 3, 1, 2)


def _inside(index: Tensor, last: int) -> Tensor:
    return (index >= 0) & (index <= last)
