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
    for kept, new in zip(average.parameters(), current.parameters(), strict=True):
        kept.lerp_(new, 1 - effective)
