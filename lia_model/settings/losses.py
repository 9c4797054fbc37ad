"""Settings of the loss terms, section `train.losses`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from preprocessing.settings import Settings


class TermSettings(Settings):
    """Settings of a loss term; a term with settings of its own derives from this class in its own file."""

    weight: Annotated[float, Field(ge=0)]
    """Factor in the loss; 0 leaves the term out."""
    every_steps: Annotated[int, Field(ge=1)]
    """The term takes part in every n-th step, with n times its weight."""


class PerceptualSettings(TermSettings):
    """Distance between images in the features of a frozen network; published with weight 10 in every step."""

    backbone: Literal["vgg16", "vgg19", "alexnet"]
    """The network; its name is part of the logged loss's name."""
    weights: Path
    """Safetensors file with the network's convolutions."""
    precision: Literal["auto", "fp32", "bf16"]
    """What the network computes in; auto is bf16 where the device has it natively, and fp32 elsewhere."""


class R1Settings(Settings):
    """R1 penalty of the discriminator on real images, computed lazily (Karras et al. 2020, appendix B)."""

    weight: Annotated[float, Field(ge=0)]
    """Factor on half the squared gradient; 0 leaves the penalty out, as published. StyleGAN2: 10."""
    every_turns: Annotated[int, Field(ge=1)]
    """The penalty takes part in every n-th update of the discriminator, times n. StyleGAN2: 16."""


class AdversarialSettings(Settings):
    """Adversarial training against the discriminator."""

    weight: Annotated[float, Field(ge=0)]
    """Factor in the generator's loss; 0 leaves the discriminator out. Published: 1."""
    start_step: Annotated[int, Field(ge=0)]
    """First step of adversarial training; published 0."""
    every_steps: Annotated[int, Field(ge=1)]
    """The adversarial term and the discriminator's update take part in every n-th step; published 1."""
    r1: R1Settings


class LossSettings(Settings):
    """Loss terms: l1 + perceptual + adversarial (Wang et al. 2022, section 3.4), and any added ones.

    A further key holds the settings of the term registered under it (see `lia_model.losses.terms`, which
    checks them).
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    l1_weight: Annotated[float, Field(ge=0)]
    """Factor on the mean absolute pixel difference."""
    perceptual: PerceptualSettings
    adversarial: AdversarialSettings
