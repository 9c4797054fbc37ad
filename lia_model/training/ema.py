"""Exponential moving average of weights (Karras et al. 2018, section 5)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float, step: int) -> None:
    """Move every weight of `average` towards `current`.

    Args:
        average: updated in place.
        current: the weights after the last update.
        decay: weight of the old average; 0 copies.
        step: updates made so far; the decay is at most (1 + step) / (10 + step), so that the random
            initial weights have little influence early on.
    """
    effective = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    # All weights in a few launches, where a loop launches once for each.
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(average.parameters()), list(current.parameters()), 1 - effective
    )
