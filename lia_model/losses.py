"""The terms of the game between generator and discriminator (Goodfellow et al. 2014, non-saturating form).

Axes: B batch.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def reconstruction_loss(
    fake: Float[Tensor, "B 3 S S"], driving: Float[Tensor, "B 3 S S"]
) -> Float[Tensor, ""]:
    """Return the mean absolute difference of images in [-1, 1]."""
    return functional.l1_loss(fake, driving)


def generator_adversarial_loss(fake_logits: Float[Tensor, "B 1"]) -> Float[Tensor, ""]:
    """Return mean softplus(-D(fake)): small where the discriminator takes fakes for real."""
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(
    real_logits: Float[Tensor, "B 1"], fake_logits: Float[Tensor, "B 1"]
) -> Float[Tensor, ""]:
    """Return mean softplus(-D(real)) + mean softplus(D(fake))."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
