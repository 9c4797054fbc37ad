"""A 1×1 convolution to three channels, bias, and the result of the octave below, in one pass over memory.

Axes of a tile: P pixels, C input channels.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import is_channels_last, on_device, require_small, tile
from lia_model.ops.kernels.upfirdn2d import upfirdn2d

SLOPE = 0.2


@triton.jit
@no_type_check
def _doubled(below, row, column, known, side, stride_row, stride_column):
    """Return pixels of the doubled image: [1, 3] or [3, 1] quarters of two neighbours, zero outside."""
    top, left = (row + 1) // 2 - 1, (column + 1) // 2 - 1
    top_part = tl.where(row % 2 == 1, 0.75, 0.25)
    left_part = tl.where(column % 2 == 1, 0.75, 0.25)
    total = tl.zeros(row.shape, tl.float32)
    for corner in tl.static_range(4):
        y, x = top + corner // 2, left + corner % 2
        share = (1 - top_part if corner // 2 else top_part) * (1 - left_part if corner % 2 else left_part)
        inside = known & (y >= 0) & (y < side) & (x >= 0) & (x < side)
        value = tl.load(below + y * stride_row + x * stride_column, mask=inside, other=0.0)
        total += share * value.to(tl.float32)
    return total


@triton.jit
@no_type_check
def _kernel(
    x,
    weight,
    bias,
    shift,
    below,
    y,
    side,
    num_channels,
    x_sample,
    x_channel,
    x_row,
    x_column,
    weight_sample,
    weight_output,
    weight_channel,
    below_sample,
    below_channel,
    below_row,
    below_column,
    SLOPE: tl.constexpr,
    ACTIVATED: tl.constexpr,
    ADDED: tl.constexpr,
    P: tl.constexpr,
    C: tl.constexpr,
):
    pixel = tl.program_id(0) * P + tl.arange(0, P)[:, None]
    sample = tl.program_id(1)
    known = pixel < side * side
    row, column = pixel // side, pixel % side
    x += sample * x_sample + row * x_row + column * x_column
    weight += sample * weight_sample
    red = tl.zeros((P, C), tl.float32)
    green = tl.zeros((P, C), tl.float32)
    blue = tl.zeros((P, C), tl.float32)
    for start in range(0, num_channels, C):
        channel = start + tl.arange(0, C)[None, :]
        real = channel < num_channels
        value = tl.load(x + channel * x_channel, mask=known & real, other=0.0).to(tl.float32)
        at = weight + channel * weight_channel
        red += value * tl.load(at, mask=real, other=0.0).to(tl.float32)
        green += value * tl.load(at + weight_output, mask=real, other=0.0).to(tl.float32)
        blue += value * tl.load(at + 2 * weight_output, mask=real, other=0.0).to(tl.float32)
    below += sample * below_sample
    for output in tl.static_range(3):
        total = red if output == 0 else green if output == 1 else blue
        result = tl.sum(total, 1, keep_dims=True) + tl.load(bias + output).to(tl.float32)
        if ACTIVATED:
            result = tl.where(result > 0, result, result * SLOPE) + tl.load(shift + output).to(tl.float32)
        if ADDED:
            start_of = below + output * below_channel
            result += _doubled(start_of, row, column, known, side // 2, below_row, below_column)
        tl.store(y + (sample * 3 + output) * side * side + pixel, result, mask=known)


@custom_op(
    "lia::projection",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor bias, Tensor? shift, Tensor? below) -> Tensor",
)
def projection(x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, below: Tensor | None) -> Tensor:
    """Return weight·x + bias + `below` doubled, in float32.

    Args:
        x: square images of any strides.
        weight: a matrix with three rows for each sample.
        bias: added to each output channel.
        shift: with it, leaky ReLU follows the bias, and then it is added. There is no gradient then.
        below: images of half the side, doubled as `upsample` does.
    """
    require_small(x)
    batch, channels, side, _ = x.shape
    y = _empty(x, weight)
    p, c = tile(side * side, channels, is_channels_last(x))
    p = min(p, 64)
    with on_device(x):
        _kernel[(triton.cdiv(side * side, p), batch)](
            x,
            weight,
            bias,
            bias if shift is None else shift,
            y if below is None else below,
            y,
            side,
            channels,
            *x.stride(),
            *weight.stride(),
            *(y if below is None else below).stride(),
            SLOPE=SLOPE,
            ACTIVATED=shift is not None,
            ADDED=below is not None,
            P=p,
            C=c,
        )
    return y


def _empty(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty([x.shape[0], weight.shape[1], *x.shape[2:]], dtype=torch.float32)


@projection.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, below: Tensor | None) -> Tensor:
    return _empty(x, weight)


def _keep(ctx, inputs, output) -> None:
    x, weight, bias, _, below = inputs
    ctx.bias_dtype = bias.dtype
    ctx.below = None if below is None else (below.dtype, below.shape[2:])
    ctx.save_for_backward(x, weight)


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    rows = grad.flatten(2).to(x.dtype)
    grad_x = (rows.transpose(1, 2) @ weight.to(x.dtype)).transpose(1, 2).unflatten(2, x.shape[2:])
    grad_weight = (rows @ x.flatten(2).transpose(1, 2)).to(weight.dtype)
    grad_bias = grad.sum((0, 2, 3)).to(ctx.bias_dtype)
    if ctx.below is None:
        return grad_x, grad_weight, grad_bias, None, None
    dtype, sides = ctx.below
    return grad_x, grad_weight, grad_bias, None, upfirdn2d(grad, 1, 2, 1, *sides, 4.0).to(dtype)


register_autograd("lia::projection", _backward, setup_context=_keep)
