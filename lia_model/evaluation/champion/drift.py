"""How far new clips are from those that a model was trained on, one property at a time.

The distance is that of Kolmogorov and Smirnov: the largest difference between the two shares of clips below
any value, from 0 (alike) to 1 (apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_NUM_CLIPS = 8
"""Fewer clips on a side give no distance: it would be large by chance."""


@dataclass(frozen=True)
class Shift:
    """One property of the clips."""

    name: str
    """Column of the ledger."""
    distance: float | None
    """0 to 1; None if either side has too few clips with a value."""
    median: float | None
    """Of the training clips."""
    new_median: float | None
    """Of the new clips."""
    num_clips: int
    """Training clips with a value."""
    num_new: int
    """New clips with a value."""


def shift(name: str, trained: Sequence[float], new: Sequence[float]) -> Shift:
    """Compare the values of a property in the training clips and in new ones."""
    is_enough = min(len(trained), len(new)) >= MIN_NUM_CLIPS
    return Shift(
        name=name,
        distance=kolmogorov_smirnov(trained, new) if is_enough else None,
        median=float(np.median(trained)) if trained else None,
        new_median=float(np.median(new)) if new else None,
        num_clips=len(trained),
        num_new=len(new),
    )


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sample distance, 0 to 1; neither sample is empty."""
    values = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
