"""One training step of generator and discriminator at 256 px, without data loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.optim import Optimizer

from lia_model.losses.adversarial import discriminator_loss, generator_adversarial_loss
from lia_model.losses.imagenet_features import build_features
from lia_model.losses.perceptual import PerceptualLoss
from lia_model.losses.reconstruction import reconstruction_loss
from lia_model.losses.terms import build_objective
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import OptimizerSettings
from lia_model.training.state import build_optimizers
from lia_model.training.step import Networks, training_step
from tests.benchmarks.model import DTYPES, published_network
from tests.benchmarks.published_formulation import PublishedDiscriminator, PublishedFormulation
from tests.benchmarks.timing import Row, by_turns
from tests.published_losses import published_losses

SIZE_PX = 256


def measure(
    batch_size: int, precisions: list[str], num_rounds: int, vgg: Path, device: torch.device
) -> Iterator[Row]:
    """Time our step against the published formulation in fp32; without VGG's file, without that term."""
    perceptual = PerceptualLoss(build_features("vgg16", vgg)).to(device) if vgg.is_file() else None
    term = "VGG16" if perceptual else "no perceptual term"
    source, driving = torch.rand(2, batch_size, 3, SIZE_PX, SIZE_PX, device=device) * 2 - 1
    for precision in precisions:
        candidates = {
            "ours": _ours(source, driving, precision, vgg if perceptual else None),
            "published": _published(source, driving, perceptual),
        }
        seconds = by_turns(candidates, num_rounds, device)
        per_pair = {name: [each / batch_size for each in times] for name, times in seconds.items()}
        yield Row("training", f"{SIZE_PX} px, batch {batch_size}, {precision} against fp32, {term}", per_pair)


def _ours(
    source: torch.Tensor, driving: torch.Tensor, precision: str, vgg: Path | None
) -> Callable[[], object]:
    device = source.device
    generator, discriminator, optimizers = _networks(device)
    networks = Networks(generator, discriminator, *optimizers)
    objective = build_objective(published_losses(vgg, precision), device)
    dtype = DTYPES[precision]
    autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    return lambda: training_step(networks, source, driving, step=0, objective=objective, autocast=autocast)


def _published(
    source: torch.Tensor, driving: torch.Tensor, perceptual: PerceptualLoss | None
) -> Callable[[], object]:
    generator, discriminator, optimizers = _networks(source.device)
    plain, critic = PublishedFormulation(generator), PublishedDiscriminator(discriminator)

    def step() -> None:
        fake = plain(source, driving)
        loss = reconstruction_loss(fake, driving) + generator_adversarial_loss(critic(fake))
        if perceptual is not None:
            loss = loss + 10 * perceptual(fake, driving)
        _update(optimizers[0], loss)
        _update(optimizers[1], discriminator_loss(critic(driving), critic(fake.detach())))

    return step


def _update(optimizer: Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _networks(device: torch.device):
    network = published_network(SIZE_PX)
    generator, discriminator = (
        build_generator(network, 0).to(device),
        build_discriminator(network, 1).to(device),
    )
    generator.synthesis.weaken_flow(0.05, 2.0)
    rates = OptimizerSettings.model_validate("paper")
    return generator, discriminator, build_optimizers(generator, discriminator, rates)
