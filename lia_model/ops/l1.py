"""Mean absolute differences of many pairs of features, summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lia_model.ops.dispatch import Impl, takes_fused


def sum_of_l1(got: Sequence[Tensor], wanted: Sequence[Tensor], impl: Impl = "auto") -> Float[Tensor, ""]:
    """Return the sum of the mean absolute differences of the pairs; sums are float32 at least.

    First gradients of `got` exist; `wanted` gets none.

    Args:
        got: features of any shapes, all of one type.
        wanted: as many of the same shapes and type.
        impl: see `dispatch`.
    """
    if takes_fused("sum_of_l1", got[0], impl):
        # Imported here because the core must run without Triton.
        from lia_model.ops.kernels.l1 import sum_of_l1 as fused

        return fused(list(got), [each.detach() for each in wanted])
    return torch.stack([_mean_distance(a, b.detach()) for a, b in zip(got, wanted, strict=True)]).sum()


def _mean_distance(a: Tensor, b: Tensor) -> Float[Tensor, ""]:
    return _MeanDistance.apply(a, b)


class _MeanDistance(torch.autograd.Function):
    """Autograd gives the same gradient in more passes over the features, of which some in float32."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:  # noqa: ANN401 - torch's own
        difference = a - b
        ctx.save_for_backward(difference)
        exact = torch.promote_types(a.dtype, torch.float32)
        return torch.linalg.vector_norm(difference, 1, dtype=exact) / difference.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        (difference,) = ctx.saved_tensors
        (grad,) = grad_outputs
        return difference.sign().mul_(grad / difference.numel()), None
