"""Random mirroring and colour jitter of a training pair, the same on both frames.

The published recipe uses them for bodies. The change is a pure function of the seed and the pair's number.
Axes: N frames of one pair, S side of the image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lia_model.settings import AugmentationSettings

LUMA = (0.299, 0.587, 0.114)
# RGB to the two colour axes of YIQ, whose rotation changes the hue and keeps the luma (ITU-R BT.470).
CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
STREAM = 2
"""Separates these random numbers from those that choose the pair, which share seed and number."""


@dataclass(frozen=True)
class Change:
    """The change of one pair."""

    is_mirrored: bool
    brightness: float
    """Factor on the colours."""
    contrast: float
    """Factor on the distance from the pair's mean luma."""
    saturation: float
    """Factor on the distance from each pixel's luma."""
    hue: float
    """Rotation of the hues, as a fraction of the colour circle."""
    order: tuple[int, ...]
    """Order of the four colour changes."""


def draw_change(settings: AugmentationSettings, seed: int, number: int) -> Change:
    """Return the change of the pair `number`."""
    draw = np.random.Generator(np.random.Philox(key=[seed, number], counter=[STREAM, 0, 0, 0]))
    is_mirrored = settings.flip and bool(draw.integers(2))
    return Change(
        is_mirrored,
        brightness=1 + settings.brightness * draw.uniform(-1, 1),
        contrast=1 + settings.contrast * draw.uniform(-1, 1),
        saturation=1 + settings.saturation * draw.uniform(-1, 1),
        hue=settings.hue * draw.uniform(-1, 1),
        order=tuple(int(place) for place in draw.permutation(4)),
    )


def apply_change(images: Float[Tensor, "N 3 S S"], change: Change) -> Float[Tensor, "N 3 S S"]:
    """Apply one change to all images, in [-1, 1]; colours are clamped to that range after every step."""
    if change.is_mirrored:
        images = images.flip(-1)
    steps: list[tuple[bool, Callable[[Tensor], Tensor]]] = [
        (change.brightness != 1, lambda colors: colors * change.brightness),
        (change.contrast != 1, lambda colors: _away_from(_luma(colors).mean(), colors, change.contrast)),
        (change.saturation != 1, lambda colors: _away_from(_luma(colors), colors, change.saturation)),
        (change.hue != 0, lambda colors: _rotate_hue(colors, change.hue)),
    ]
    colors = (images + 1) / 2
    for place in change.order:
        is_used, step = steps[place]
        if is_used:
            colors = step(colors).clamp(0, 1)
    return colors * 2 - 1


def _luma(colors: Tensor) -> Float[Tensor, "N 1 S S"]:
    return _mixed(colors, (LUMA,))


def _mixed(colors: Tensor, rows: Sequence[Sequence[float]]) -> Tensor:
    """Return linear combinations of the channels, by numbers: a matrix on a GPU would wait for its copy."""
    red, green, blue = colors.split(1, dim=1)
    return torch.cat([a * red + b * green + c * blue for a, b, c in rows], dim=1)


def _away_from(centre: Tensor, colors: Tensor, factor: float) -> Tensor:
    return centre + (colors - centre) * factor


def _rotate_hue(colors: Tensor, turn: float) -> Tensor:
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    to_yiq = np.array((LUMA, *CHROMA))
    rotation = np.array(((1, 0, 0), (0, cos, -sin), (0, sin, cos)))
    return _mixed(colors, (np.linalg.inv(to_yiq) @ rotation @ to_yiq).tolist())
