"""Flow, mask, bilinear sampling and blending in one pass over memory, and one for all gradients.

Axes of a tile: P pixels, C channels.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import is_channels_last, require_small, tile


@triton.jit
@no_type_check
def _flow(flow, grid, sample, pixel, known, side, stride_sample, stride_channel, stride_row, stride_column):
    """Return tanh of x and y, sigmoid of the mask, and where in pixels of the feature to sample."""
    flow += sample * stride_sample + (pixel // side) * stride_row + (pixel % side) * stride_column
    raw_x = tl.load(flow, mask=known, other=0.0).to(tl.float32)
    raw_y = tl.load(flow + stride_channel, mask=known, other=0.0).to(tl.float32)
    raw_mask = tl.load(flow + 2 * stride_channel, mask=known, other=0.0).to(tl.float32)
    # tanh, which Triton has in its GPU library alone.
    flow_x, flow_y = 2 * tl.sigmoid(2 * raw_x) - 1, 2 * tl.sigmoid(2 * raw_y) - 1
    at_x = tl.load(grid + 2 * pixel, mask=known, other=0.0).to(tl.float32) + flow_x
    at_y = tl.load(grid + 2 * pixel + 1, mask=known, other=0.0).to(tl.float32) + flow_y
    return flow_x, flow_y, tl.sigmoid(raw_mask), ((at_x + 1) * side - 1) / 2, ((at_y + 1) * side - 1) / 2


@triton.jit
@no_type_check
def _corner(x, y, known, side, stride_row, stride_column):
    """Return the offset of a pixel, and whether it lies inside."""
    inside = known & (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return y.to(tl.int32) * stride_row + x.to(tl.int32) * stride_column, inside


@triton.jit
@no_type_check
def _forward_kernel(
    flow,
    feature,
    x,
    grid,
    warped,
    blended,
    side,
    num_channels,
    flow_sample,
    flow_channel,
    flow_row,
    flow_column,
    feature_sample,
    feature_channel,
    feature_row,
    feature_column,
    x_sample,
    x_channel,
    x_row,
    x_column,
    out_sample,
    out_channel,
    out_row,
    out_column,
    P: tl.constexpr,
    C: tl.constexpr,
):
    pixel = tl.program_id(0) * P + tl.arange(0, P)[:, None]
    channel = tl.program_id(1) * C + tl.arange(0, C)[None, :]
    sample = tl.program_id(2)
    known = pixel < side * side
    real = channel < num_channels
    _, _, weight, px, py = _flow(
        flow, grid, sample, pixel, known, side, flow_sample, flow_channel, flow_row, flow_column
    )
    left, top = tl.floor(px), tl.floor(py)
    right_part, low_part = px - left, py - top
    feature += sample * feature_sample + channel * feature_channel
    sampled = tl.zeros((P, C), tl.float32)
    for corner in tl.static_range(4):
        across, down = corner % 2, corner // 2
        at, inside = _corner(left + across, top + down, known, side, feature_row, feature_column)
        share = (right_part if across else 1 - right_part) * (low_part if down else 1 - low_part)
        sampled += share * tl.load(feature + at, mask=inside & real, other=0.0).to(tl.float32)
    row, column = pixel // side, pixel % side
    there = known & real
    value = sampled * weight
    at = sample * out_sample + channel * out_channel + row * out_row + column * out_column
    tl.store(warped + at, value.to(warped.dtype.element_ty), mask=there)
    behind = x + sample * x_sample + channel * x_channel + row * x_row + column * x_column
    value += tl.load(behind, mask=there, other=0.0).to(tl.float32) * (1 - weight)
    tl.store(blended + at, value.to(blended.dtype.element_ty), mask=there)


@triton.jit
@no_type_check
def _backward_kernel(
    grad_warped,
    grad_blended,
    flow,
    feature,
    x,
    grid,
    grad_flow,
    grad_feature,
    grad_x,
    side,
    num_channels,
    flow_sample,
    flow_channel,
    flow_row,
    flow_column,
    feature_sample,
    feature_channel,
    feature_row,
    feature_column,
    x_sample,
    x_channel,
    x_row,
    x_column,
    P: tl.constexpr,
    C: tl.constexpr,
):
    # All but feature and flow share the strides of x. A program takes every channel of its pixels, so that
    # sums over channels stay inside it.
    pixel = tl.program_id(0) * P + tl.arange(0, P)[:, None]
    sample = tl.program_id(1)
    known = pixel < side * side
    flow_x, flow_y, weight, px, py = _flow(
        flow, grid, sample, pixel, known, side, flow_sample, flow_channel, flow_row, flow_column
    )
    left, top = tl.floor(px), tl.floor(py)
    right_part, low_part = px - left, py - top
    row, column = pixel // side, pixel % side
    feature += sample * feature_sample
    grad_feature += sample * feature_sample
    sum_x = tl.zeros((P, C), tl.float32)
    sum_y = tl.zeros((P, C), tl.float32)
    sum_weight = tl.zeros((P, C), tl.float32)
    for start in range(0, num_channels, C):
        channel = start + tl.arange(0, C)[None, :]
        real = channel < num_channels
        there = known & real
        at = sample * x_sample + channel * x_channel + row * x_row + column * x_column
        blend = tl.load(grad_blended + at, mask=there, other=0.0).to(tl.float32)
        both = tl.load(grad_warped + at, mask=there, other=0.0).to(tl.float32) + blend
        behind = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        tl.store(grad_x + at, (blend * (1 - weight)).to(grad_x.dtype.element_ty), mask=there)
        sampled = tl.zeros((P, C), tl.float32)
        for corner in tl.static_range(4):
            across, down = corner % 2, corner // 2
            offset, inside = _corner(left + across, top + down, known, side, feature_row, feature_column)
            offset += channel * feature_channel
            along_x = right_part if across else 1 - right_part
            along_y = low_part if down else 1 - low_part
            value = tl.load(feature + offset, mask=inside & real, other=0.0).to(tl.float32)
            sampled += along_x * along_y * value
            sum_x += (both * value) * (along_y if across else -along_y)
            sum_y += (both * value) * (along_x if down else -along_x)
            tl.atomic_add(grad_feature + offset, both * weight * along_x * along_y, mask=inside & real)
        sum_weight += both * sampled - blend * behind
    scale = weight * side / 2
    at = grad_flow + sample * 3 * side * side + pixel
    grad_px = tl.sum(sum_x, 1, keep_dims=True) * scale * (1 - flow_x * flow_x)
    grad_py = tl.sum(sum_y, 1, keep_dims=True) * scale * (1 - flow_y * flow_y)
    grad_mask = tl.sum(sum_weight, 1, keep_dims=True) * weight * (1 - weight)
    tl.store(at, grad_px.to(grad_flow.dtype.element_ty), mask=known)
    tl.store(at + side * side, grad_py.to(grad_flow.dtype.element_ty), mask=known)
    tl.store(at + 2 * side * side, grad_mask.to(grad_flow.dtype.element_ty), mask=known)


def _like(x: Tensor) -> Tensor:
    """Return an empty tensor of the shape, type and layout of `x`, without its gaps and repeats."""
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout)


@custom_op(
    "lia::flow_warp",
    mutates_args=(),
    schema="(Tensor flow, Tensor feature, Tensor x, Tensor grid) -> (Tensor, Tensor)",
)
def flow_warp(flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masked warp of `feature` and that blended over `x`; inputs may have any strides."""
    require_small(x)
    warped, blended = _like(x), _like(x)
    batch, channels, side, _ = x.shape
    p, c = tile(side * side, channels, is_channels_last(x))
    launch = (triton.cdiv(side * side, p), triton.cdiv(channels, c), batch)
    _forward_kernel[launch](
        flow,
        feature,
        x,
        grid.contiguous(),
        warped,
        blended,
        side,
        channels,
        *flow.stride(),
        *feature.stride(),
        *x.stride(),
        *warped.stride(),
        P=p,
        C=c,
    )
    return warped, blended


@custom_op(
    "lia::flow_warp_grad",
    mutates_args=(),
    schema="(Tensor grad_warped, Tensor grad_blended, Tensor flow, Tensor feature, Tensor x, Tensor grid)"
    " -> (Tensor, Tensor, Tensor)",
)
def flow_warp_grad(
    grad_warped: Tensor, grad_blended: Tensor, flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of flow, feature and x. The order in which feature's are summed is not fixed."""
    # Atomic sums are taken in float32, where rounding does not pile up.
    grad_feature = torch.zeros_like(_like(feature), dtype=torch.float32)
    grad_x, grad_flow = _like(x), torch.empty_like(flow, memory_format=torch.contiguous_format)
    grad_warped, grad_blended, x, feature = (
        _like(other).copy_(value)
        for other, value in ((x, grad_warped), (x, grad_blended), (x, x), (feature, feature))
    )
    batch, channels, side, _ = x.shape
    p, c = tile(side * side, channels, is_channels_last(x))
    p = min(p, 64)
    _backward_kernel[(triton.cdiv(side * side, p), batch)](
        grad_warped,
        grad_blended,
        flow,
        feature,
        x,
        grid.contiguous(),
        grad_flow,
        grad_feature,
        grad_x,
        side,
        channels,
        *flow.stride(),
        *feature.stride(),
        *x.stride(),
        P=p,
        C=c,
    )
    return grad_flow, grad_feature.to(feature.dtype), grad_x


@flow_warp.register_fake
def _(flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    return _like(x), _like(x)


@flow_warp_grad.register_fake
def _(
    grad_warped: Tensor, grad_blended: Tensor, flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(flow, memory_format=torch.contiguous_format), _like(feature), _like(x)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_warped: Tensor, grad_blended: Tensor) -> tuple[Tensor | None, ...]:
    flow, feature, x, grid = ctx.saved_tensors
    return *flow_warp_grad(grad_warped, grad_blended, flow, feature, x, grid), None


register_autograd("lia::flow_warp", _backward, setup_context=_keep)
