"""Weights and images from which the published networks' reference values were computed, rebuilt by name.

`published_reference.npz` beside this file holds slices of those values: what the published LIA computes in
float64 on these inputs. Images are kept at every (size/8)-th pixel from the middle of the first block on.
"""

import copy
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lia_model.checkpoints.published_keys import discriminator_keys, generator_keys, published_shape
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import NetworkSettings

REFERENCE = dict(np.load(Path(__file__).with_name("published_reference.npz")))


def draw(prefix: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the value of one entry of the published state dict, seeded by its own name."""
    seed = zlib.crc32(f"open-{prefix}.{name}".encode())
    value = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    if name.endswith("modulation.bias"):
        value = 1 + np.float32(0.1) * value
    elif name.endswith(("bias", "noise.weight")):
        value = np.float32(0.1) * value
    return torch.from_numpy(value)


def fill(module: nn.Module, names: dict[str, str], prefix: str) -> nn.Module:
    state = module.state_dict()
    assert set(state) == set(names)
    for ours, theirs in names.items():
        shape = published_shape(theirs, state[ours].shape)
        state[ours].copy_(draw(prefix, theirs, shape).reshape(state[ours].shape))
    return module


def settings(size_px: int) -> NetworkSettings:
    return NetworkSettings.model_validate(
        {"size_px": size_px, "width": 1.0, "latent_dim": 512, "num_directions": 20}
    )


@cache
def _drawn_generator(size_px: int) -> nn.Module:
    return fill(build_generator(settings(size_px)), generator_keys(size_px), "gen")


@cache
def _drawn_discriminator(size_px: int) -> nn.Module:
    return fill(build_discriminator(settings(size_px)), discriminator_keys(size_px), "dis")


def generator(size_px: int, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(_drawn_generator(size_px)).to(dtype)


def discriminator(size_px: int, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(_drawn_discriminator(size_px)).to(dtype)


def image(tag: str, batch: int, size_px: int, dtype: torch.dtype) -> torch.Tensor:
    seed = zlib.crc32(f"open-image{tag}".encode())
    blocks = np.random.RandomState(seed).uniform(-1, 1, (batch, 3, 8, 8))
    side = size_px // 8
    return torch.from_numpy(np.kron(blocks, np.ones((side, side))).astype(np.float32)).to(dtype)


def sampled(images: torch.Tensor) -> torch.Tensor:
    step = images.shape[-1] // 8
    return images[:, :, step // 2 :: step, step // 2 :: step]
