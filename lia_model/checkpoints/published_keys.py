"""The key mapping of published LIA checkpoints: their keys and shapes for each of our parameters.

Published checkpoints also hold entries that no computation uses: noise weights, `to_rgb1`, FIR kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lia_model.networks.encoder import NUM_MOTION_LAYERS
from lia_model.networks.layers import num_channels, octaves
from lia_model.ops.upfirdn2d import fir_kernel
from lia_model.settings import NetworkSettings


def generator_keys(size_px: int) -> dict[str, str]:
    """Return the published key of each parameter of our generator."""
    num_blocks = len(octaves(size_px))
    keys = {
        "encoder.from_rgb.conv.weight": "enc.net_app.convs.0.0.weight",
        "encoder.from_rgb.bias": "enc.net_app.convs.0.1.bias",
        "encoder.to_code.weight": f"enc.net_app.convs.{num_blocks + 1}.weight",
        "motion.free": "dec.direction.weight",
        "synthesis.constant": "dec.input.input",
        **_styled("synthesis.conv", "dec.conv1"),
    }
    for layer in range(NUM_MOTION_LAYERS):
        for kind in ("weight", "bias"):
            keys[f"motion_head.layers.{layer}.{kind}"] = f"enc.fc.{layer}.{kind}"
    for block in range(num_blocks):
        ours = f"synthesis.blocks.{block}"
        keys |= _residual(f"encoder.blocks.{block}", f"enc.net_app.convs.{block + 1}")
        keys |= _styled(f"{ours}.up", f"dec.convs.{2 * block}")
        keys |= _styled(f"{ours}.conv", f"dec.convs.{2 * block + 1}")
        keys |= _modulated(f"{ours}.to_flow", f"dec.to_flows.{block}.conv")
        keys[f"{ours}.flow_bias"] = f"dec.to_flows.{block}.bias"
        keys[f"{ours}.to_rgb.conv.weight"] = f"dec.to_rgbs.{block}.conv.0.weight"
        keys[f"{ours}.to_rgb.bias"] = f"dec.to_rgbs.{block}.conv.1.bias"
        keys[f"{ours}.rgb_bias"] = f"dec.to_rgbs.{block}.bias"
    return keys


def discriminator_keys(size_px: int) -> dict[str, str]:
    """Return the published key of each parameter of our discriminator."""
    keys = {
        "from_rgb.conv.weight": "convs.0.0.weight",
        "from_rgb.bias": "convs.0.1.bias",
        "conv.conv.weight": "final_conv.0.weight",
        "conv.bias": "final_conv.1.bias",
        "hidden.weight": "final_linear.0.weight",
        "hidden.bias": "final_linear.0.bias",
        "to_logit.weight": "final_linear.1.weight",
        "to_logit.bias": "final_linear.1.bias",
    }
    for block in range(len(octaves(size_px))):
        keys |= _residual(f"blocks.{block}", f"convs.{block + 1}")
    return keys


def _residual(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.conv.conv.weight": f"{theirs}.conv1.0.weight",
        f"{ours}.conv.bias": f"{theirs}.conv1.1.bias",
        f"{ours}.down.weight": f"{theirs}.conv2.1.weight",
        f"{ours}.down_bias": f"{theirs}.conv2.2.bias",
        f"{ours}.skip.weight": f"{theirs}.skip.1.weight",
    }


def _modulated(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.weight": f"{theirs}.weight",
        f"{ours}.style.weight": f"{theirs}.modulation.weight",
        f"{ours}.style.bias": f"{theirs}.modulation.bias",
    }


def _styled(ours: str, theirs: str) -> dict[str, str]:
    return _modulated(f"{ours}.conv", f"{theirs}.conv") | {f"{ours}.bias": f"{theirs}.activate.bias"}


def unused_generator_entries(network: NetworkSettings) -> dict[str, Tensor]:
    """Return the entries of a published generator that no computation uses, with their initial values."""
    num_blocks = len(octaves(network.size_px))
    entries = {
        "dec.conv1.noise.weight": torch.zeros(1),
        "dec.to_rgb1.bias": torch.zeros(1, 3, 1, 1),
        "dec.to_rgb1.conv.0.weight": torch.zeros(3, num_channels(4, network.width), 1, 1),
        "dec.to_rgb1.conv.1.bias": torch.zeros(1, 3, 1, 1),
    }
    for block in range(num_blocks):
        entries |= _residual_kernels(f"enc.net_app.convs.{block + 1}")
        entries[f"dec.convs.{2 * block}.conv.blur.kernel"] = fir_kernel(4.0)
        entries[f"dec.convs.{2 * block}.noise.weight"] = torch.zeros(1)
        entries[f"dec.convs.{2 * block + 1}.noise.weight"] = torch.zeros(1)
        entries[f"dec.to_rgbs.{block}.upsample.kernel"] = fir_kernel(4.0)
        entries[f"dec.to_flows.{block}.upsample.kernel"] = fir_kernel(4.0)
    return entries


def _residual_kernels(theirs: str) -> dict[str, Tensor]:
    return {f"{theirs}.conv2.0.kernel": fir_kernel(), f"{theirs}.skip.0.kernel": fir_kernel()}


def published_shape(key: str, shape: torch.Size) -> tuple[int, ...]:
    """Return the shape that published checkpoints use for a parameter of our `shape`; `key` is theirs."""
    is_modulated = key.startswith("dec.") and len(shape) == 4 and ".to_rgb" not in key and ".input" not in key
    if is_modulated:
        return (1, *shape)
    is_act_bias = key.endswith(".bias") and not any(part in key for part in ("fc.", "modulation", "linear"))
    return (1, *shape, 1, 1) if is_act_bias else tuple(shape)


def unused_discriminator_entries(network: NetworkSettings) -> dict[str, Tensor]:
    """Return the entries of a published discriminator that no computation uses: its FIR kernels."""
    entries: dict[str, Tensor] = {}
    for block in range(len(octaves(network.size_px))):
        entries |= _residual_kernels(f"convs.{block + 1}")
    return entries
