"""Mean absolute differences of many pairs of features, summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

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
    exact = torch.promote_types(a.dtype, torch.float32)
    return (a - b).abs().mean(dtype=exact)
