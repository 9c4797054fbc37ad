"""Where numbers meet classes: networks from their settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lia_model.networks.discriminator import Discriminator
from lia_model.networks.generator import Generator
from lia_model.settings import NetworkSettings


def build_generator(settings: NetworkSettings, seed: int | None = None) -> Generator:
    """Return a generator with fresh weights, a function of `seed`; None draws from torch's state."""
    with _seeded(seed):
        return Generator(settings)


def build_discriminator(settings: NetworkSettings, seed: int | None = None) -> Discriminator:
    """Return a discriminator with fresh weights, a function of `seed`; None draws from torch's state."""
    with _seeded(seed):
        return Discriminator(settings)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
