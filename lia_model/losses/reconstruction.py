"""The reconstruction term: mean absolute pixel difference (Wang et al. 2022, section 3.4).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.losses.terms import GeneratorOutputs, LossTerm, Objective, loss_term

NAME = "l1"


def reconstruction_loss(
    fake: Float[Tensor, "B 3 S S"], driving: Float[Tensor, "B 3 S S"]
) -> Float[Tensor, ""]:
    """Return the mean absolute difference of images in [-1, 1]."""
    return functional.l1_loss(fake, driving)


@loss_term("l1_weight")
def build_reconstruction(weight: float, device: torch.device) -> Objective:
    """Return the term; it is computed, and logged, at weight 0 too."""

    def compute(outputs: GeneratorOutputs) -> Tensor:
        return reconstruction_loss(outputs.fake, outputs.driving)

    return Objective(generator=(LossTerm(NAME, compute, weight),))
