"""Scale, bias and leaky ReLU in one pass over memory, and one for all gradients.

The sign of the output tells the side of the ReLU; what is scaled is kept too, for the gradient of the scale.
Axes of a tile: P positions, C channels.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import dense, is_channels_last, on_device, require_small, tile, with_strides_of

SLOPE = 0.2
# Tiles that a program of the backward pass takes one after another: it writes its sums once for all of them.
STEPS = 8


@triton.jit
@no_type_check
def _forward_kernel(
    x,
    bias,
    scale,
    after,
    y,
    gain,
    num_positions,
    num_channels,
    stride_position,
    stride_channel,
    SLOPE: tl.constexpr,
    SCALED: tl.constexpr,
    MULTIPLIED: tl.constexpr,
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
    if MULTIPLIED:
        known = channel < num_channels
        value *= tl.load(after + sample * num_channels + channel, mask=known).to(tl.float32)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _backward_kernel(
    grad,
    y,
    x,
    scale,
    grad_x,
    grad_bias,
    grad_scale,
    gain,
    num_positions,
    num_channels,
    stride_position,
    stride_channel,
    SLOPE: tl.constexpr,
    SCALED: tl.constexpr,
    SUMMED: tl.constexpr,
    P: tl.constexpr,
    C: tl.constexpr,
    STEPS: tl.constexpr,
):
    channel = tl.program_id(1) * C + tl.arange(0, C)[None, :]
    sample = tl.program_id(2)
    known = channel < num_channels
    if SCALED:
        factor = tl.load(scale + sample * num_channels + channel, mask=known, other=0.0).to(tl.float32)
    sum_bias = tl.zeros((P, C), tl.float32)
    sum_scale = tl.zeros((P, C), tl.float32)
    for step in range(STEPS):
        position = (tl.program_id(0) * STEPS + step) * P + tl.arange(0, P)[:, None]
        inside = (position < num_positions) & known
        at = sample * num_positions * num_channels + position * stride_position + channel * stride_channel
        value = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32) * gain
        value = tl.where(tl.load(y + at, mask=inside, other=0.0).to(tl.float32) > 0, value, value * SLOPE)
        if SUMMED:
            sum_bias += value
            if SCALED:
                sum_scale += value * tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        if SCALED:
            value *= factor
        tl.store(grad_x + at, value.to(grad_x.dtype.element_ty), mask=inside)
    if SUMMED:
        at = (sample * tl.num_programs(0) + tl.program_id(0)) * num_channels + channel
        tl.store(grad_bias + at, tl.sum(sum_bias, 0, keep_dims=True), mask=known)
        if SCALED:
            tl.store(grad_scale + at, tl.sum(sum_scale, 0, keep_dims=True), mask=known)


def _extent(x: Tensor, scaled: bool) -> tuple[int, int, int, bool]:
    """Return how a dense tensor is walked through: samples, positions and channels, and whether by pixel."""
    channels_last = is_channels_last(x)
    samples, channels = x.shape[:2]
    positions = x[0, 0].numel()
    if channels_last and not scaled:
        samples, positions = 1, samples * positions
    return samples, positions, channels, channels_last


@custom_op(
    "lia::bias_act",
    mutates_args=(),
    schema="(Tensor x, Tensor bias, Tensor? scale, float gain, Tensor? after=None) -> Tensor",
)
def bias_act(
    x: Tensor, bias: Tensor, scale: Tensor | None, gain: float, after: Tensor | None = None
) -> Tensor:
    """Return leaky_relu(x·scale + bias)·gain·after; with `after` there are no gradients."""
    require_small(x)
    x = dense(x)
    y = torch.empty_like(x)
    samples, positions, channels, channels_last = _extent(x, not (scale is None and after is None))
    p, c = tile(positions, channels, channels_last)
    with on_device(x):
        _forward_kernel[(triton.cdiv(positions, p), triton.cdiv(channels, c), samples)](
            x,
            bias.contiguous(),
            x if scale is None else scale.contiguous(),
            x if after is None else after.contiguous(),
            y,
            gain,
            positions,
            channels,
            *((channels, 1) if channels_last else (1, positions)),
            SLOPE=SLOPE,
            SCALED=scale is not None,
            MULTIPLIED=after is not None,
            P=p,
            C=c,
        )
    return y


@custom_op(
    "lia::bias_act_grad",
    mutates_args=(),
    schema="(Tensor grad, Tensor y, Tensor? x, Tensor? scale, float gain, bool summed)"
    " -> (Tensor, Tensor, Tensor)",
)
def bias_act_grad(
    grad: Tensor, y: Tensor, x: Tensor | None, scale: Tensor | None, gain: float, summed: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `x`, bias and scale from that of `y`, the last two in float32.

    Args:
        grad: gradient of `y`.
        y: what `bias_act` returned.
        x: what it got; needed for the gradient of the scale alone.
        scale: as there.
        gain: as there.
        summed: False leaves the gradients of bias and scale empty, as that of a scale of None is.
    """
    require_small(y)
    y = dense(y)
    grad, given = with_strides_of(y, grad), None if x is None else with_strides_of(y, x)
    grad_x = torch.empty_like(y)
    samples, positions, channels, channels_last = _extent(y, scale is not None)
    p, c = tile(positions, channels, channels_last)
    programs = triton.cdiv(positions, p * STEPS)
    weighed = summed and scale is not None and given is not None
    grad_bias, grad_scale = (
        y.new_empty([samples, int(programs), channels] if wanted else [0], dtype=torch.float32)
        for wanted in (summed, weighed)
    )
    with on_device(y):
        _backward_kernel[(programs, triton.cdiv(channels, c), samples)](
            grad,
            y,
            y if given is None else given,
            y if scale is None else scale.contiguous(),
            grad_x,
            grad_bias,
            grad_scale,
            gain,
            positions,
            channels,
            *((channels, 1) if channels_last else (1, positions)),
            SLOPE=SLOPE,
            SCALED=scale is not None,
            SUMMED=summed,
            P=p,
            C=c,
            STEPS=STEPS,
        )
    return (
        grad_x,
        grad_bias.sum((0, 1)) if summed else grad_bias,
        grad_scale.sum(1) if weighed else grad_scale,
    )


@bias_act.register_fake
def _(x: Tensor, bias: Tensor, scale: Tensor | None, gain: float, after: Tensor | None = None) -> Tensor:
    return torch.empty_like(dense(x))


@bias_act_grad.register_fake
def _(
    grad: Tensor, y: Tensor, x: Tensor | None, scale: Tensor | None, gain: float, summed: bool
) -> tuple[Tensor, Tensor, Tensor]:
    weighed = summed and scale is not None and x is not None
    return (
        torch.empty_like(dense(y)),
        y.new_empty([y.shape[1]] if summed else [0], dtype=torch.float32),
        y.new_empty(list(y.shape[:2]) if weighed else [0], dtype=torch.float32),
    )


def _keep_forward(ctx, inputs, output) -> None:
    x, bias, scale, ctx.gain, after = inputs
    assert after is None
    ctx.bias_dtype = bias.dtype
    ctx.save_for_backward(None if scale is None else x, scale, output)


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, y = ctx.saved_tensors
    summed = any(ctx.needs_input_grad[1:3])
    grad_x, grad_bias, grad_scale = bias_act_grad(grad, y, x, scale, ctx.gain, summed)
    if not summed:
        return grad_x, *[None] * 4
    of_scale = None if scale is None else grad_scale.to(scale.dtype)
    return grad_x, grad_bias.to(ctx.bias_dtype), of_scale, None, None


def _keep_backward(ctx, inputs, output) -> None:
    grad, y, x, scale, ctx.gain, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(grad, y, x, scale)


def _second_backward(
    ctx, grad_x: Tensor | None, grad_bias: Tensor | None, grad_scale: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Differentiate grad·m·scale and the sums of grad·m and grad·m·x, where m is the slope at each place."""
    grad, y, x, scale = ctx.saved_tensors
    pixels = tuple(range(2, y.ndim))

    def sloped(value: Tensor, scale: Tensor | None = None) -> Tensor:
        return bias_act_grad(value.to(y.dtype).expand_as(y), y, None, scale, ctx.gain, False)[0]

    def spread(value: Tensor) -> Tensor:
        return value[(..., *[None] * len(pixels))]

    again, of_x, of_scale = [], None, None
    if grad_x is not None:
        again.append(sloped(grad_x, scale))
        if scale is not None:
            of_scale = (sloped(grad) * grad_x).sum(pixels, dtype=torch.float32).to(scale.dtype)
    if grad_bias is not None:
        again.append(sloped(spread(grad_bias)))
    if grad_scale is not None:
        again.append(sloped(spread(grad_scale) * x))
        of_x = (sloped(grad) * spread(grad_scale)).to(x.dtype)
    return sum(again[1:], again[0]) if again else None, None, of_x, of_scale, None, None


register_autograd("lia::bias_act", _backward, setup_context=_keep_forward)
register_autograd("lia::bias_act_grad", _second_backward, setup_context=_keep_backward)
