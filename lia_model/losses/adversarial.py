"""The adversarial terms, in the non-saturating form (Goodfellow et al. 2014; Wang et al. 2022, section 3.4).

Axes: B batch.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lia_model.losses.terms import (
    DiscriminatorOutputs,
    GeneratorOutputs,
    LossTerm,
    Objective,
    loss_term,
)
from lia_model.settings import AdversarialSettings


def generator_adversarial_loss(fake_logits: Float[Tensor, "B 1"]) -> Float[Tensor, ""]:
    """Return mean softplus(-D(fake)), which is small if the discriminator takes fakes for real."""
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(
    real_logits: Float[Tensor, "B 1"], fake_logits: Float[Tensor, "B 1"]
) -> Float[Tensor, ""]:
    """Return mean softplus(-D(real)) + mean softplus(D(fake))."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


@loss_term("adversarial")
def build_adversarial(settings: AdversarialSettings, device: torch.device) -> Objective:
    """Return the generator's and the discriminator's term, or neither at weight 0.

    The discriminator's is not multiplied by its interval: it is the only term of that loss but R1, and Adam
    ignores a constant factor.
    """
    if not settings.weight:
        return Objective()
    every, start = settings.every_steps, settings.start_step
    factor = settings.weight * every
    return Objective(
        generator=(LossTerm("generator_adversarial", _fool_discriminator, factor, every, start),),
        discriminator=(LossTerm("discriminator", _tell_apart, 1.0, every, start),),
    )


def _fool_discriminator(outputs: GeneratorOutputs) -> Tensor:
    outputs.discriminator.requires_grad_(False)
    with outputs.autocast:
        logits = outputs.discriminator(outputs.fake)
    outputs.discriminator.requires_grad_(True)
    return generator_adversarial_loss(logits.to(outputs.fake.dtype))


def _tell_apart(outputs: DiscriminatorOutputs) -> Tensor:
    return discriminator_loss(outputs.real_logits, outputs.fake_logits)
