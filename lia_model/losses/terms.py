"""What a loss term is, and the registry that training builds its losses from.

To add a term, add one file to this package::

    @loss_term("brightness")
    def build(settings: TermSettings, device: torch.device) -> Objective:
        def compute(outputs: GeneratorOutputs) -> Tensor:
            return (outputs.fake.mean() - outputs.driving.mean()).abs()

        return Objective(generator=(LossTerm.weighted("brightness", compute, settings),))

It takes part where params.yaml holds its key, `train.losses.brightness: {weight: 0.1, every_steps: 1}`.
Axes: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from lia_model import losses
from lia_model.settings import LossSettings, TermSettings


@dataclass(frozen=True)
class GeneratorOutputs:
    """What a term of the generator's loss is computed from; images are RGB in [-1, 1], in float32."""

    source: Float[Tensor, "B 3 S S"]
    driving: Float[Tensor, "B 3 S S"]
    """The target: with absolute motion the generator reproduces the driving frame."""
    fake: Float[Tensor, "B 3 S S"]
    """The generator's images; gradients flow through them."""
    discriminator: nn.Module
    """Not wrapped for data-parallel training: the wrapper would wait for gradients that never arrive."""
    autocast: torch.autocast
    """Precision of forward passes through networks."""


@dataclass(frozen=True)
class DiscriminatorOutputs:
    """What a term of the discriminator's loss is computed from."""

    real: Float[Tensor, "B 3 S S"]
    real_logits: Float[Tensor, "B 1"]
    fake_logits: Float[Tensor, "B 1"]


Outputs = TypeVar("Outputs")


@dataclass(frozen=True)
class LossTerm(Generic[Outputs]):
    """A weighted term of the loss of one network."""

    name: str
    """Logged as `loss/<name>`."""
    compute: Callable[[Outputs], Tensor]
    """Returns the unweighted value, a scalar."""
    factor: float
    """Multiplies the value in the loss."""
    every_steps: int = 1
    """Interval at which the term takes part."""
    start_step: int = 0
    """First step at which it may take part."""
    needs_image_gradient: bool = False
    """Differentiates logits by the real images, so the forward pass records that and runs in float32."""

    @classmethod
    def weighted(
        cls, name: str, compute: Callable[[Outputs], Tensor], settings: TermSettings
    ) -> LossTerm[Outputs]:
        """Return a term that counts `every_steps` times its weight, since it takes part that rarely."""
        return cls(name, compute, settings.weight * settings.every_steps, settings.every_steps)

    def is_due(self, step: int) -> bool:
        """Return whether the term takes part in `step`."""
        return step >= self.start_step and step % self.every_steps == 0


@dataclass(frozen=True)
class Objective:
    """The loss terms of both networks, in the order in which they are computed and summed."""

    generator: tuple[LossTerm[GeneratorOutputs], ...] = ()
    discriminator: tuple[LossTerm[DiscriminatorOutputs], ...] = ()


TermBuilder = Callable[[Any, torch.device], Objective]
_builders: dict[str, list[TermBuilder]] = {}
_settings: dict[str, type[TermSettings]] = {}


def loss_term(key: str, settings: type[TermSettings] = TermSettings) -> Callable[[TermBuilder], TermBuilder]:
    """Register a function that builds terms from the settings at `train.losses.<key>`.

    The function gets those settings and the device, and returns an empty objective to leave the term out.
    Several files may share a key.

    Args:
        key: of `train.losses`.
        settings: type of the settings; unused for the keys that `LossSettings` declares.
    """

    def register_builder(build: TermBuilder) -> TermBuilder:
        _builders.setdefault(key, []).append(build)
        _settings[key] = settings
        return build

    return register_builder


def known_keys() -> list[str]:
    """Return the keys of all registered terms, after importing every module of this package."""
    for module in pkgutil.iter_modules(losses.__path__, f"{losses.__name__}."):
        importlib.import_module(module.name)
    return sorted(_builders)


def check_terms(settings: LossSettings) -> LossSettings:
    """Return the settings with those of added terms checked and typed.

    Raises:
        ValueError: a key names no term, or its settings do not fit the term.
    """
    known = known_keys()
    checked = {}
    for key, value in (settings.model_extra or {}).items():
        if key not in known:
            raise ValueError(
                f"train.losses.{key} names no loss term; known are {', '.join(known)}: correct the key, or "
                f"add the term in lia_model/losses/{key}.py"
            )
        try:
            values = dict(value) if isinstance(value, Mapping | TermSettings) else value
            checked[key] = _settings[key].model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(("train", "losses", key, *map(str, first["loc"])))
            raise ValueError(f"{name} is {first['input']!r}: {first['msg']}; correct it") from None
    return settings.model_copy(update=checked)


def build_objective(settings: LossSettings, device: torch.device) -> Objective:
    """Return the terms of all keys of `train.losses`, declared keys first, added ones in the file's order.

    Raises:
        ValueError: as `check_terms`, or a file that a term needs is missing.
    """
    parts = [build(value, device) for key, value in check_terms(settings) for build in _builders[key]]
    return Objective(
        generator=tuple(term for part in parts for term in part.generator),
        discriminator=tuple(term for part in parts for term in part.discriminator),
    )
