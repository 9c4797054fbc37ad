"""Flow, mask, bilinear sampling and blending in one pass over memory, and one for all gradients.

Several pixels may sample one place, so the gradient of the feature is summed by atomic additions. In float32
their order shows in the last bits. Where torch is asked for deterministic algorithms, the sum is taken in
64-bit integers, in which no order shows.
Axes of a tile: P pixels, C channels.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import dense, is_channels_last, on_device, require_small, tile, with_strides_of

# A place is sampled with a share of at most 1 by each of at most 2**20 pixels (a side of 1024), so that their
# sum stays below 2**62.
FIXED_POINT_BITS = 42


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
    unit,
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
    BLENDED: tl.constexpr,
    EXACT: tl.constexpr,
    P: tl.constexpr,
    C: tl.constexpr,
):
    # All gradients but the flow's have the strides of their tensor. A program takes every channel of its
    # pixels, so that sums over channels stay inside it.
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
        both = tl.load(grad_warped + at, mask=there, other=0.0).to(tl.float32)
        if BLENDED:
            blend = tl.load(grad_blended + at, mask=there, other=0.0).to(tl.float32)
            both += blend
            behind = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
            tl.store(grad_x + at, (blend * (1 - weight)).to(grad_x.dtype.element_ty), mask=there)
            sum_weight -= blend * behind
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
            part = both * weight * along_x * along_y
            if EXACT:
                part = (part / tl.load(unit)).to(tl.int64)
            # Relaxed: nothing is read before the kernel ends. Any stronger order is a fence for each of them.
            tl.atomic_add(grad_feature + offset, part, mask=inside & real, sem="relaxed")
        sum_weight += both * sampled
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
    with on_device(x):
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
    schema="(Tensor grad_warped, Tensor? grad_blended, Tensor flow, Tensor feature, Tensor x, Tensor grid)"
    " -> (Tensor, Tensor, Tensor)",
)
def flow_warp_grad(
    grad_warped: Tensor, grad_blended: Tensor | None, flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of flow, feature and x; the last is empty where `grad_blended` is None."""
    x, feature = dense(x), dense(feature)
    grad_warped = with_strides_of(x, grad_warped)
    blended = grad_blended is not None
    grad_blended = with_strides_of(x, grad_blended) if blended else grad_warped
    grad_x = torch.empty_like(x) if blended else x.new_empty(0)
    grad_flow = torch.empty_like(flow, memory_format=torch.contiguous_format)
    exact = torch.are_deterministic_algorithms_enabled()
    unit = _unit(grad_warped, grad_blended) if exact else grid
    # Rounding piles up in narrower types.
    sums = torch.zeros_like(feature, dtype=torch.int64 if exact else torch.float32)
    batch, channels, side, _ = x.shape
    p, c = tile(side * side, channels, is_channels_last(x))
    p = min(p, 64)
    with on_device(x):
        _backward_kernel[(triton.cdiv(side * side, p), batch)](
            grad_warped,
            grad_blended,
            flow,
            feature,
            x if blended else grad_warped,
            grid.contiguous(),
            grad_flow,
            sums,
            grad_x,
            unit,
            side,
            channels,
            *flow.stride(),
            *feature.stride(),
            *x.stride(),
            BLENDED=blended,
            EXACT=exact,
            P=p,
            C=c,
        )
    return grad_flow, (sums * unit if exact else sums).to(feature.dtype), grad_x


def _unit(*gradients: Tensor) -> Tensor:
    """Return what a 1 of the integer sums stands for, without waiting for the device."""
    largest = torch.stack([torch.linalg.vector_norm(one, torch.inf) for one in gradients]).float().sum()
    return largest.clamp(min=torch.finfo(torch.float32).tiny * 2.0**FIXED_POINT_BITS) * 2.0**-FIXED_POINT_BITS


@flow_warp.register_fake
def _(flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    return _like(x), _like(x)


@flow_warp_grad.register_fake
def _(
    grad_warped: Tensor, grad_blended: Tensor | None, flow: Tensor, feature: Tensor, x: Tensor, grid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = x.new_empty(0) if grad_blended is None else _like(x)
    return torch.empty_like(flow, memory_format=torch.contiguous_format), _like(feature), grad_x


def _keep(ctx, inputs, output) -> None:
    # What is blended in the last octave is not used: no gradient of zeros is made and read for it.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_warped: Tensor | None, grad_blended: Tensor | None) -> tuple[Tensor | None, ...]:
    flow, feature, x, grid = ctx.saved_tensors
    if grad_warped is None:
        grad_warped = torch.zeros_like(x)
    grad_flow, grad_feature, grad_x = flow_warp_grad(grad_warped, grad_blended, flow, feature, x, grid)
    return grad_flow, grad_feature, None if grad_blended is None else grad_x, None


register_autograd("lia::flow_warp", _backward, setup_context=_keep)
