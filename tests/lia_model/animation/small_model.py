"""A model small enough to run in milliseconds; untrained, so only what it is given matters."""

from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings

SIZE = 32
"""Side of its pictures in pixels."""


def small_animator(seed: int) -> Animator:
    """Return the model; models of different seeds differ in all weights."""
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=SIZE)
    return Animator(build_generator(settings, seed), "cpu", "fp32")
