"""The R1 penalty of the discriminator (Mescheder et al. 2018), computed lazily (Karras et al. 2020, B).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lia_model.losses.terms import DiscriminatorOutputs, LossTerm, Objective, loss_term
from lia_model.settings import AdversarialSettings


def r1_penalty(real: Float[Tensor, "B 3 S S"], real_logits: Float[Tensor, "B 1"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of the squared gradient of D(real) with respect to the image.

    The result is differentiable. `real` must require its gradient, and `real_logits` be computed from it.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


@loss_term("adversarial")
def build_r1(settings: AdversarialSettings, device: torch.device) -> Objective:
    """Return the penalty, due at every n-th update of the discriminator, or nothing at weight 0."""
    r1 = settings.r1
    if not settings.weight or not r1.weight:
        return Objective()

    def compute(outputs: DiscriminatorOutputs) -> Tensor:
        return r1_penalty(outputs.real, outputs.real_logits)

    term = LossTerm(
        "r1",
        compute,
        r1.weight / 2 * r1.every_turns,
        every_steps=settings.every_steps * r1.every_turns,
        start_step=settings.start_step,
        needs_image_gradient=True,
    )
    return Objective(discriminator=(term,))
