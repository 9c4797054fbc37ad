"""Scale, bias and leaky ReLU in one pass over memory, and the same for its gradients.

The sign of the output tells the side of the ReLU, so it alone is kept for the backward pass.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import dense, is_channels_last, require_small, tile

SLOPE = 0.2


@triton.jit
@no_type_check
def _forward_kernel(
    x,
    bias,
    scale,
    y,
    gain,
    num_positions,
    num_channels,
    stride_position,
    stride_channel,
    SLOPE: tl.constexpr,
    SCALED: tl.constexpr,
    P: tl.constexpr,
    C: tl.constexpr,
):
    position = tl.program_id(0) * P + tl.arange(0, P)[:, None]
    channel = tl.program_id(1) * C + tl.arange(0, C)[None, :]
    sample = tl.program_id(2)
    inside = (position < num_positions) & (channel < num_channels)
    at = sample * num_positions * num_channels + position * stride_position + channel * stride_channel
    value = tl.load(x + at, mask=inside).to(tl.float32)
    if SCALED:
        known = channel < num_channels
        value *= tl.load(scale + sample * num_channels + channel, mask=known).to(tl.float32)
    value += tl.load(bias + channel, mask=channel < num_channels).to(tl.float32)
    value = tl.where(value > 0, value, value * SLOPE) * gain
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _backward_kernel(
    grad,
    y,
    scale,
    grad_x,
    gain,
    num_positions,
    num_channels,
    stride_position,
    stride_channel,
    SLOPE: tl.constexpr,
    SCALED: tl.constexpr,
    P: tl.constexpr,
    C: tl.constexpr,
):
    position = tl.program_id(0) * P + tl.arange(0, P)[:, None]
    channel = tl.program_id(1) * C + tl.arange(0, C)[None, :]
    sample = tl.program_id(2)
    inside = (position < num_positions) & (channel < num_channels)
    at = sample * num_positions * num_channels + position * stride_position + channel * stride_channel
    value = tl.load(grad + at, mask=inside).to(tl.float32) * gain
    value = tl.where(tl.load(y + at, mask=inside).to(tl.float32) > 0, value, value * SLOPE)
    if SCALED:
        known = channel < num_channels
        value *= tl.load(scale + sample * num_channels + channel, mask=known).to(tl.float32)
    tl.store(grad_x + at, value.to(grad_x.dtype.element_ty), mask=inside)


def _launch(kernel, first: Tensor, second: Tensor, scale: Tensor | None, gain: float) -> Tensor:
    """Run `kernel` over `first`, which is dense; `second` is the bias, or another tensor of its layout."""
    require_small(first)
    out = torch.empty_like(first)
    channels_last = is_channels_last(first)
    samples, channels = first.shape[:2]
    positions = first[0, 0].numel()
    if channels_last and scale is None:
        samples, positions = 1, samples * positions
    p, c = tile(positions, channels, channels_last)
    grid = (triton.cdiv(positions, p), triton.cdiv(channels, c), samples)
    strides = (channels, 1) if channels_last else (1, positions)
    kernel[grid](
        first,
        second,
        second if scale is None else scale.contiguous(),
        out,
        gain,
        positions,
        channels,
        *strides,
        SLOPE=SLOPE,
        SCALED=scale is not None,
        P=p,
        C=c,
    )
    return out


@custom_op(
    "lia::bias_act",
    mutates_args=(),
    schema="(Tensor x, Tensor bias, Tensor? scale, float gain) -> Tensor",
)
def bias_act(x: Tensor, bias: Tensor, scale: Tensor | None, gain: float) -> Tensor:
    """Return leaky_relu(x·scale + bias)·gain."""
    return _launch(_forward_kernel, dense(x), bias.contiguous(), scale, gain)


@custom_op(
    "lia::bias_act_grad",
    mutates_args=(),
    schema="(Tensor grad, Tensor y, Tensor? scale, float gain) -> Tensor",
)
def bias_act_grad(grad: Tensor, y: Tensor, scale: Tensor | None, gain: float) -> Tensor:
    """Return the gradient of `x` from that of `y`."""
    y = dense(y)
    return _launch(_backward_kernel, torch.empty_like(y).copy_(grad), y, scale, gain)


@bias_act.register_fake
def _(x: Tensor, bias: Tensor, scale: Tensor | None, gain: float) -> Tensor:
    return torch.empty_like(dense(x))


@bias_act_grad.register_fake
def _(grad: Tensor, y: Tensor, scale: Tensor | None, gain: float) -> Tensor:
    return torch.empty_like(dense(y))


def _keep_forward(ctx, inputs, output) -> None:
    x, bias, scale, ctx.gain = inputs
    ctx.bias_dtype = bias.dtype
    ctx.save_for_backward(None if scale is None else x, scale, output)


def _backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
    x, scale, y = ctx.saved_tensors
    grad_x = bias_act_grad(grad, y, scale, ctx.gain)
    pixels = tuple(range(2, y.ndim))
    if scale is None:
        return grad_x, grad_x.sum((0, *pixels), dtype=torch.float32).to(ctx.bias_dtype), None, None
    inverse = scale.float().reciprocal()
    grad_bias = (grad_x.float().sum(pixels) * inverse).sum(0).to(ctx.bias_dtype)
    grad_scale = ((grad_x * x).float().sum(pixels) * inverse).to(scale.dtype)
    return grad_x, grad_bias, grad_scale, None


def _keep_backward(ctx, inputs, output) -> None:
    grad, y, scale, ctx.gain = inputs
    ctx.save_for_backward(grad, y, scale)


def _second_backward(ctx, grad_grad: Tensor) -> tuple[Tensor, None, Tensor | None, None]:
    grad, y, scale = ctx.saved_tensors
    again = bias_act_grad(grad_grad, y, scale, ctx.gain)
    if scale is None:
        return again, None, None, None
    unscaled = bias_act_grad(grad, y, None, ctx.gain)
    grad_scale = (unscaled * grad_grad).float().sum(tuple(range(2, y.ndim))).to(scale.dtype)
    return again, None, grad_scale, None


register_autograd("lia::bias_act", _backward, setup_context=_keep_forward)
register_autograd("lia::bias_act_grad", _second_backward, setup_context=_keep_backward)
