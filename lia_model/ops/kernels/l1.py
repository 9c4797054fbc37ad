"""Mean absolute differences of all pairs in one launch, and their gradients in another.

A program takes one block of one pair; a pair's blocks follow those of the pair before.
"""

from __future__ import annotations

from itertools import accumulate
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, register_autograd

from lia_model.ops.kernels import dense, on_device, require_small, with_strides_of

BLOCK = 4096


@triton.jit
@no_type_check
def _forward_kernel(got, wanted, firsts, sizes, sums, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    for pair in tl.static_range(PAIRS):
        if (program >= firsts[pair]) & (program < firsts[pair + 1]):
            at = (program - firsts[pair]) * BLOCK + tl.arange(0, BLOCK)
            known = at < sizes[pair]
            a = tl.load(got[pair] + at, mask=known, other=0.0).to(tl.float32)
            b = tl.load(wanted[pair] + at, mask=known, other=0.0).to(tl.float32)
            tl.store(sums + program, tl.sum(tl.abs(a - b), 0) / sizes[pair])


@triton.jit
@no_type_check
def _backward_kernel(grad, got, wanted, grads, firsts, sizes, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    share = tl.load(grad).to(tl.float32)
    for pair in tl.static_range(PAIRS):
        if (program >= firsts[pair]) & (program < firsts[pair + 1]):
            at = (program - firsts[pair]) * BLOCK + tl.arange(0, BLOCK)
            known = at < sizes[pair]
            a = tl.load(got[pair] + at, mask=known, other=0.0).to(tl.float32)
            b = tl.load(wanted[pair] + at, mask=known, other=0.0).to(tl.float32)
            # What is not a number on either side stays so, as the finite gate expects.
            sign = tl.where(a > b, 1.0, tl.where(a < b, -1.0, a - b))
            value = sign * (share / sizes[pair])
            tl.store(grads[pair] + at, value.to(grads[pair].dtype.element_ty), mask=known)


def _aligned(got: list[Tensor], wanted: list[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return both without gaps and pairwise of equal strides, so that memory order will do."""
    for each in got:
        require_small(each)
    dense_got = tuple(map(dense, got))
    return dense_got, tuple(with_strides_of(a, b) for a, b in zip(dense_got, wanted, strict=True))


def _extents(got: tuple[Tensor, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first program of each pair, with their number at the end, and the pairs' sizes."""
    sizes = tuple(each.numel() for each in got)
    return tuple(accumulate((int(triton.cdiv(size, BLOCK)) for size in sizes), initial=0)), sizes


@custom_op("lia::sum_of_l1", mutates_args=(), schema="(Tensor[] got, Tensor[] wanted) -> Tensor")
def sum_of_l1(got: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Return the sum of the mean absolute differences, in float32."""
    a, b = _aligned(got, wanted)
    firsts, sizes = _extents(a)
    sums = a[0].new_empty(firsts[-1], dtype=torch.float32)
    with on_device(sums):
        _forward_kernel[(firsts[-1],)](a, b, firsts, sizes, sums, PAIRS=len(a), BLOCK=BLOCK)
    return sums.sum()


@custom_op(
    "lia::sum_of_l1_grad",
    mutates_args=(),
    schema="(Tensor grad, Tensor[] got, Tensor[] wanted) -> Tensor[]",
)
def sum_of_l1_grad(grad: Tensor, got: list[Tensor], wanted: list[Tensor]) -> list[Tensor]:
    """Return the gradients of `got`, without gaps."""
    a, b = _aligned(got, wanted)
    firsts, sizes = _extents(a)
    grads = tuple(map(torch.empty_like, a))
    with on_device(grad):
        _backward_kernel[(firsts[-1],)](grad, a, b, grads, firsts, sizes, PAIRS=len(a), BLOCK=BLOCK)
    return list(grads)


@sum_of_l1.register_fake
def _(got: list[Tensor], wanted: list[Tensor]) -> Tensor:
    return got[0].new_empty([], dtype=torch.float32)


@sum_of_l1_grad.register_fake
def _(grad: Tensor, got: list[Tensor], wanted: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(dense(each)) for each in got]


def _keep(ctx, inputs, output) -> None:
    got, wanted = inputs
    ctx.save_for_backward(*got, *wanted)


def _backward(ctx, grad: Tensor) -> tuple[list[Tensor], list[None]]:
    saved = list(ctx.saved_tensors)
    num_pairs = len(saved) // 2
    return sum_of_l1_grad(grad, saved[:num_pairs], saved[num_pairs:]), [None] * num_pairs


register_autograd("lia::sum_of_l1", _backward, setup_context=_keep)
