"""The terms of the game between generator and discriminator (Goodfellow et al. 2014, non-saturating form).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import torch
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


def r1_penalty(real: Float[Tensor, "B 3 S S"], real_logits: Float[Tensor, "B 1"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of the squared gradient of D(real) by the image (Mescheder et al. 2018).

    Differentiable itself; `real` must require its gradient and `real_logits` come from it.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
