"""One optimizer update of generator and discriminator (Wang et al. 2022, section 3.4; lia.md section 6).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from lia_model.losses.terms import (
    discriminator_loss,
    generator_adversarial_loss,
    r1_penalty,
    reconstruction_loss,
)
from lia_model.settings import LossSettings, OptimizerSettings


@dataclass(frozen=True)
class Players:
    """The two networks, bare or wrapped for data-parallel training, and their optimisers."""

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    max_gradient_norm: float | None = None
    """Longer gradients of a network are shortened to this length."""


def training_step(
    players: Players,
    source: Float[Tensor, "B 3 S S"],
    driving: Float[Tensor, "B 3 S S"],
    *,
    step: int,
    losses: LossSettings,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
    autocast: torch.autocast,
) -> dict[str, Float[Tensor, ""]]:
    """Update the generator, then the discriminator on the same fake images.

    Args:
        players: changed in place.
        source: images in [-1, 1].
        driving: another frame of the same clip; with absolute motion it is also the target.
        step: updates made before this one; decides which lazy terms take part.
        losses: weights of the terms.
        perceptual: the perceptual distance, None to leave it out.
        autocast: precision of the forward passes; losses are taken in float32.

    Returns:
        Every loss of this step before its update, unweighted, detached.
    """
    plays = is_adversarial(step, losses)
    with autocast:
        fake = players.generator(source, driving)
    fake = fake.float() if fake.dtype in (torch.bfloat16, torch.float16) else fake
    values = {"l1": reconstruction_loss(fake, driving)}
    total = losses.l1_weight * values["l1"]
    if perceptual is not None and step % losses.perceptual.every_steps == 0:
        with autocast:
            distance = perceptual(fake, driving)
        # A distance in features means nothing without the network that they are of.
        values[f"perceptual_{losses.perceptual.backbone}"] = distance
        total = total + losses.perceptual.weight * losses.perceptual.every_steps * distance
    if plays:
        players.discriminator.requires_grad_(False)
        with autocast:
            # Past the data-parallel wrapper, which would wait for gradients that a frozen network never gets.
            logits = unwrapped(players.discriminator)(fake)
        values["generator_adversarial"] = generator_adversarial_loss(logits.to(fake.dtype))
        total = (
            total
            + losses.adversarial.weight * losses.adversarial.every_steps * values["generator_adversarial"]
        )
        players.discriminator.requires_grad_(True)
    _update(players.generator_optimizer, total, players.max_gradient_norm)
    if plays:
        values |= _play(players, driving, fake.detach(), step=step, losses=losses, autocast=autocast)
    return {name: value.detach() for name, value in values.items()}


def _play(
    players: Players, real: Tensor, fake: Tensor, *, step: int, losses: LossSettings, autocast: torch.autocast
) -> dict[str, Tensor]:
    """Update the discriminator; return its losses."""
    r1 = losses.adversarial.r1
    is_penalised = r1.weight > 0 and (step // losses.adversarial.every_steps) % r1.every_turns == 0
    # Gradients of gradients are lost in bf16, so a turn with the penalty is computed in full.
    precision = torch.autocast(real.device.type, enabled=False) if is_penalised else autocast
    real = real.detach().requires_grad_(is_penalised)
    # One forward pass for both halves, as data-parallel wrappers demand; the groups of the minibatch
    # deviation do not mix them.
    with precision:
        logits = players.discriminator(torch.cat((real, fake)), num_batches=2)
    real_logits, fake_logits = logits.to(fake.dtype).chunk(2)
    values = {"discriminator": discriminator_loss(real_logits, fake_logits)}
    total = values["discriminator"]
    if is_penalised:
        values["r1"] = r1_penalty(real, real_logits)
        total = total + r1.weight / 2 * r1.every_turns * values["r1"]
    _update(players.discriminator_optimizer, total, players.max_gradient_norm)
    return values


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside a data-parallel wrapper, or `module` itself."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def is_adversarial(step: int, losses: LossSettings) -> bool:
    """Tell whether the discriminator takes part in `step`."""
    game = losses.adversarial
    return game.weight > 0 and step >= game.start_step and step % game.every_steps == 0


def _update(optimizer: Optimizer, loss: Tensor, max_gradient_norm: float | None) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if max_gradient_norm is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_gradient_norm)
    optimizer.step()


def learning_rate_factor(step: int, num_steps: int, settings: OptimizerSettings) -> float:
    """Return the factor on both learning rates at `step`: linear warm-up, half a cosine at the end."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    left = num_steps - step
    if left < settings.decay_steps:
        factor *= (1 - math.cos(math.pi * left / settings.decay_steps)) / 2
    return factor
