"""One update of the generator, then of the discriminator (Wang et al. 2022, section 3.4).

Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.profiler import record_function

from lia_model.device.precision import float32_products
from lia_model.losses.terms import DiscriminatorOutputs, GeneratorOutputs, LossTerm, Objective, Outputs
from lia_model.settings import OptimizerSettings
from lia_model.training.data_parallel import GradientMean
from lia_model.training.finite_gate import FiniteGate, backpropagate
from lia_model.training.pairs.batch_share import BatchShare


@dataclass(frozen=True)
class Networks:
    """The two networks, bare or wrapped for data-parallel training, and their optimizers."""

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    max_gradient_norm: float | None = None
    """Gradients of a network are clipped to this length; None leaves them."""
    gate: FiniteGate = field(default_factory=FiniteGate)
    """Keeps values that are not finite out of the weights."""
    generator_mean: GradientMean = field(default_factory=GradientMean)
    """Of the generator's gradients over the ranks, if it is wrapped."""
    discriminator_mean: GradientMean = field(default_factory=GradientMean)
    as_written: Callable[[], AbstractContextManager[object]] = nullcontext
    """Context in which compiled networks run as plain PyTorch."""

    def update(self, name: str) -> None:
        """Wait for the gradients of the network `name` and update its weights by them."""
        is_generator = name == "generator"
        with record_function(f"update of the {name}"):
            (self.generator_mean if is_generator else self.discriminator_mean).wait()
            optimizer = self.generator_optimizer if is_generator else self.discriminator_optimizer
            self.gate.update(name, optimizer, self.max_gradient_norm)


def training_step(
    networks: Networks,
    source: Float[Tensor, "B 3 S S"],
    driving: Float[Tensor, "B 3 S S"],
    *,
    step: int,
    objective: Objective,
    autocast: torch.autocast,
    share: BatchShare | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Update the generator, then the discriminator on the same fake images.

    Each loss is the mean over the micro-batches of all ranks.

    Args:
        networks: updated in place, unless a loss or a gradient was not finite: then they stay.
        source: images in [-1, 1].
        driving: another frame of the same clip; with absolute motion it is also the target.
        step: updates made before this one; lazy terms take part at their intervals.
        objective: the loss terms of both networks.
        autocast: precision of the forward passes; losses are computed in float32.
        share: the micro-batches in `source` and `driving`, of those of all ranks; None takes the images as
            one micro-batch, which is the batch.

    Returns:
        Every loss of this step before its update, unweighted, detached: the mean over this rank's images.
    """
    share = share or BatchShare(1, len(source))
    due = [term for term in objective.discriminator if term.is_due(step)]
    sources, drivings = share.split(source), share.split(driving)
    with record_function("gradients of the generator"):
        fakes, values = _differentiate_generator(
            networks, sources, drivings, step, objective.generator, autocast, share.factor
        )
    # The ranks take the mean of the generator's gradients meanwhile: the discriminator needs the fake images,
    # not the updated generator.
    if due:
        with record_function("gradients of the discriminator"):
            values |= _differentiate_discriminator(
                networks, drivings, fakes, step, due, autocast, share.factor
            )
    networks.update("generator")
    if due:
        networks.update("discriminator")
    return values


def _differentiate_generator(
    networks: Networks,
    sources: Sequence[Tensor],
    drivings: Sequence[Tensor],
    step: int,
    terms: Sequence[LossTerm[GeneratorOutputs]],
    autocast: torch.autocast,
    factor: float,
) -> tuple[list[Tensor], dict[str, Float[Tensor, ""]]]:
    """Add up the gradients of `factor` times each loss; return the fake images and mean losses."""
    networks.generator_optimizer.zero_grad(set_to_none=True)
    fakes, values = [], []
    for context, source, driving in zip(
        _accumulation(networks.generator, len(sources)), sources, drivings, strict=True
    ):
        with context:
            with autocast, record_function("generator, forward"):
                fake = networks.generator(source, driving)
            fake = fake.float() if fake.dtype in (torch.bfloat16, torch.float16) else fake
            outputs = GeneratorOutputs(source, driving, fake, unwrapped(networks.discriminator), autocast)
            loss, losses = weighted_sum(terms, outputs, step)
            backpropagate(loss, factor)
        fakes.append(fake.detach())
        values.append(losses)
    return fakes, _means(values)


def _differentiate_discriminator(
    networks: Networks,
    reals: Sequence[Tensor],
    fakes: Sequence[Tensor],
    step: int,
    due: Sequence[LossTerm[DiscriminatorOutputs]],
    autocast: torch.autocast,
    factor: float,
) -> dict[str, Float[Tensor, ""]]:
    """Add up the gradients of `factor` times each loss; return the mean losses."""
    networks.discriminator_optimizer.zero_grad(set_to_none=True)
    values = []
    with ExitStack() as contexts:
        if any(term.needs_image_gradient for term in due):
            # Second derivatives are too inexact in bf16 and TF32, and the compiler has none.
            contexts.enter_context(float32_products("fp32"))
            contexts.enter_context(networks.as_written())
        for context, real, fake in zip(
            _accumulation(networks.discriminator, len(reals)), reals, fakes, strict=True
        ):
            with context:
                judged = _judge(networks.discriminator, real, fake, due, autocast)
                loss, losses = weighted_sum(due, judged, step)
                backpropagate(loss, factor)
            values.append(losses)
    return _means(values)


def _accumulation(module: nn.Module, num_micro_batches: int) -> list[AbstractContextManager[None]]:
    """Return a context for each micro-batch: the ranks average their gradients after the last one only."""
    if not isinstance(module, DistributedDataParallel):
        return [nullcontext()] * num_micro_batches
    return [*(module.no_sync() for _ in range(num_micro_batches - 1)), nullcontext()]


def _means(values: Sequence[dict[str, Tensor]]) -> dict[str, Float[Tensor, ""]]:
    """Return the mean of each loss over the micro-batches, detached."""
    if len(values) == 1:
        return {name: value.detach() for name, value in values[0].items()}
    return {name: torch.stack([each[name].detach() for each in values]).mean() for name in values[0]}


def weighted_sum(
    terms: Sequence[LossTerm[Outputs]], outputs: Outputs, step: int
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return the sum of the terms due at `step`, each times its factor, and their unweighted values.

    Raises:
        ValueError: no term is due.
    """
    total, values = None, {}
    for term in terms:
        if term.is_due(step):
            with record_function(f"loss {term.name}"):
                values[term.name] = term.compute(outputs)
            weighted = term.factor * values[term.name]
            total = weighted if total is None else total + weighted
    if total is None:
        raise ValueError(f"got no loss term that is due at step {step}; at least one has to be every step")
    return total, values


def _judge(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    terms: Sequence[LossTerm[DiscriminatorOutputs]],
    autocast: torch.autocast,
) -> DiscriminatorOutputs:
    """Run the discriminator on real and fake images."""
    needs_gradient = any(term.needs_image_gradient for term in terms)
    precision = torch.autocast(real.device.type, enabled=False) if needs_gradient else autocast
    real = real.detach().requires_grad_(needs_gradient)
    # One forward pass for both halves, as data-parallel wrappers require; the groups of the minibatch
    # deviation do not mix them.
    with precision:
        logits = discriminator(torch.cat((real, fake)), num_batches=2)
    real_logits, fake_logits = logits.to(fake.dtype).chunk(2)
    return DiscriminatorOutputs(real, real_logits, fake_logits)


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside a data-parallel wrapper, or `module` itself."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def learning_rate_factor(step: int, num_steps: int, settings: OptimizerSettings) -> float:
    """Return the factor on both learning rates at `step`: linear warm-up, half a cosine at the end."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    left = num_steps - step
    if left < settings.decay_steps:
        factor *= (1 - math.cos(math.pi * left / settings.decay_steps)) / 2
    return factor
