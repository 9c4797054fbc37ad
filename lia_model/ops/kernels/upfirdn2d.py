"""Zeros between samples, padding, the filter [1, 3, 3, 1] and skipping of samples, in one pass over memory.

Sample i of an axis stands at i·up + before in the padded signal; output o weighs the four positions from
o·down on. The filter is symmetric, so the gradient is the same operation with up and down exchanged, and 3
minus before.
Axes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import is_channels_last, on_device, power_of_2, require_small

# In channels_last, neighbouring lanes load from neighbouring addresses: more of them for a thread make wider
# loads.
LANES = {True: 512, False: 256}
ROWS = 16


@triton.jit
@no_type_check
def _filtered_row(x, row, column, stride_row, stride_column, height, width, known, UP: tl.constexpr):
    """Return [1, 3, 3, 1] along x at row `row` of the padded signal; zero between and outside samples."""
    y = row // UP
    filled = known & (row >= 0) & (row % UP == 0) & (y < height)
    total = tl.zeros(column.shape, tl.float32)
    for tap in tl.static_range(4):
        at = column + tap
        inside = filled & (at >= 0) & (at % UP == 0) & (at // UP < width)
        value = tl.load(x + y * stride_row + (at // UP) * stride_column, mask=inside, other=0.0)
        total += value.to(tl.float32) * (3.0 if tap == 1 or tap == 2 else 1.0)
    return total


@triton.jit
@no_type_check
def _kernel(
    x,
    y,
    gain,
    before,
    num_channels,
    height,
    width,
    out_height,
    out_width,
    stride_sample,
    stride_channel,
    stride_row,
    stride_column,
    out_stride_sample,
    out_stride_channel,
    out_stride_row,
    out_stride_column,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    # A lane is one column of one channel; it slides down ROWS rows and keeps the last four filtered ones.
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    known = lane < num_channels * out_width
    if CHANNELS_LAST:
        channel, out_column = lane % num_channels, lane // num_channels
    else:
        channel, out_column = lane // out_width, lane % out_width
    x += tl.program_id(2) * stride_sample + channel * stride_channel
    y += tl.program_id(2) * out_stride_sample + channel * out_stride_channel + out_column * out_stride_column
    column = out_column * DOWN - before
    first = tl.program_id(1) * ROWS
    row = first * DOWN - before
    a = _filtered_row(x, row, column, stride_row, stride_column, height, width, known, UP)
    b = _filtered_row(x, row + 1, column, stride_row, stride_column, height, width, known, UP)
    c = _filtered_row(x, row + 2, column, stride_row, stride_column, height, width, known, UP)
    d = _filtered_row(x, row + 3, column, stride_row, stride_column, height, width, known, UP)
    for step in range(ROWS):
        value = (a + d + 3.0 * (b + c)) * (gain / 64)
        out_row = first + step
        tl.store(
            y + out_row * out_stride_row, value.to(y.dtype.element_ty), mask=known & (out_row < out_height)
        )
        row = (out_row + 1) * DOWN - before
        if DOWN == 1:
            a, b, c = b, c, d
        else:
            a, b = c, d
            c = _filtered_row(x, row + 2, column, stride_row, stride_column, height, width, known, UP)
        d = _filtered_row(x, row + 3, column, stride_row, stride_column, height, width, known, UP)


@custom_op(
    "lia::upfirdn2d",
    mutates_args=(),
    schema="(Tensor x, int up, int down, int before, int out_height, int out_width, float gain) -> Tensor",
)
def upfirdn2d(
    x: Tensor, up: int, down: int, before: int, out_height: int, out_width: int, gain: float
) -> Tensor:
    """Resample `x`, of any strides; what lies outside it is zero.

    Args:
        x: the input.
        up: 1, or 2 for a zero after each sample.
        down: 1, or 2 to keep every second output.
        before: zeros before the first sample, on both axes.
        out_height: rows to compute, as many as asked for.
        out_width: likewise.
        gain: sum of the filter.
    """
    require_small(x)
    y = _empty(x, out_height, out_width)
    batch, channels, height, width = x.shape
    channels_last = is_channels_last(x)
    lanes = min(LANES[channels_last], power_of_2(channels * out_width))
    grid = (triton.cdiv(channels * out_width, lanes), triton.cdiv(out_height, ROWS), batch)
    with on_device(x):
        _kernel[grid](
            x,
            y,
            gain,
            before,
            channels,
            height,
            width,
            out_height,
            out_width,
            *x.stride(),
            *y.stride(),
            UP=up,
            DOWN=down,
            CHANNELS_LAST=channels_last,
            LANES=lanes,
            ROWS=min(ROWS, power_of_2(out_height)),
        )
    return y


def _empty(x: Tensor, height: int, width: int) -> Tensor:
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    size = (*x.shape[:2], height, width)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)


@upfirdn2d.register_fake
def _(x: Tensor, up: int, down: int, before: int, out_height: int, out_width: int, gain: float) -> Tensor:
    return _empty(x, out_height, out_width)


def _keep(ctx, inputs, output) -> None:
    x, ctx.up, ctx.down, ctx.before, _, _, ctx.gain = inputs
    ctx.sides = x.shape[2:]


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x = upfirdn2d(grad, ctx.down, ctx.up, 3 - ctx.before, *ctx.sides, ctx.gain)
    return grad_x, *[None] * 6


register_autograd("lia::upfirdn2d", _backward, setup_context=_keep)
