"""Relative motion: the driving clip's motion since its starting frame, added to the source's own pose.

Wang et al. 2022, section 3.4: the code z of the source moves to z + D (w_driving - w_start + w_source), with
directions D; absolute motion uses w_driving alone. Axes: B batch, T frames, K directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from lia_model.settings import Mode


def is_relative(mode: str) -> bool:
    """Return whether `mode` is `relative` rather than `absolute`.

    Raises:
        ValueError: the mode is neither.
    """
    if mode not in get_args(Mode):
        raise ValueError(
            f"got mode {mode!r}; allowed are {' and '.join(map(repr, get_args(Mode)))}: choose one"
        )
    return mode == "relative"


def add_to_source(
    driving: Float[Tensor, "B K"], start: Float[Tensor, " K"], source: Float[Tensor, "#B K"]
) -> Float[Tensor, "B K"]:
    """Return the weights of the source's own pose plus the motion from `start` to `driving`."""
    return driving - start + source


def hold_still(
    weights: Float32[np.ndarray, " K"], own: Float32[np.ndarray, " K"], follows: Bool[np.ndarray, " K"]
) -> Float32[np.ndarray, " K"]:
    """Return the weights along the directions that follow, and `own` along the others."""
    return np.where(follows, weights, own)


def split_first(
    motion: Iterable[Float32[np.ndarray, " K"]],
) -> tuple[Float32[np.ndarray, " K"] | None, Iterator[Float32[np.ndarray, " K"]]]:
    """Return the first weights (None if the stream is empty) and a stream of all, including the first."""
    stream = iter(motion)
    first = next(stream, None)
    return first, iter(()) if first is None else chain([first], stream)


def nearest_frame(motion: Float32[np.ndarray, "T K"], weights: Float32[np.ndarray, " K"]) -> int:
    """Return the index of the frame nearest to `weights` (Euclidean); ties go to the earliest."""
    return int(np.linalg.norm(motion - weights, axis=1).argmin())
