"""Published LIA checkpoints in and out: their names and shapes beside ours (lia.md section 7).

The released files are dicts of torch tensors under the names of the authors' modules. What they hold and
nobody computes with (noise weights, `to_rgb1`, the FIR kernels) is carried along in a file of its own, so
that a checkpoint goes back out bit for bit as it came in.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lia_model.checkpoints.directory import (
    DISCRIMINATOR,
    GENERATOR,
    load_weights,
    read_config,
    read_tensors,
    save_weights,
    write_config,
    write_directory,
)
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.networks.encoder import NUM_MOTION_LAYERS
from lia_model.networks.layers import PUBLISHED_CHANNELS, num_channels, octaves
from lia_model.ops.upfirdn2d import fir_kernel
from lia_model.settings import NetworkSettings

UNUSED = "published_unused.safetensors"
IGNORED_PARTS = ("g_optim", "d_optim", "args")
# The restricted unpickler fails on foreign bytes in any of these ways.
UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class ImportReport:
    """What became of every entry of a published checkpoint."""

    network: NetworkSettings
    num_used: int
    unused: list[str]
    """Entries that no computation needs, kept for the way back."""
    left_out: list[str]
    """Parts of a training checkpoint that are not taken over."""


def generator_names(size_px: int) -> dict[str, str]:
    """Return the published name of each of our generator's parameters."""
    num_blocks = len(octaves(size_px))
    names = {
        "encoder.from_rgb.conv.weight": "enc.net_app.convs.0.0.weight",
        "encoder.from_rgb.bias": "enc.net_app.convs.0.1.bias",
        "encoder.to_code.weight": f"enc.net_app.convs.{num_blocks + 1}.weight",
        "motion.free": "dec.direction.weight",
        "synthesis.constant": "dec.input.input",
        **_styled("synthesis.conv", "dec.conv1"),
    }
    for layer in range(NUM_MOTION_LAYERS):
        for kind in ("weight", "bias"):
            names[f"motion_head.layers.{layer}.{kind}"] = f"enc.fc.{layer}.{kind}"
    for block in range(num_blocks):
        ours = f"synthesis.blocks.{block}"
        names |= _residual(f"encoder.blocks.{block}", f"enc.net_app.convs.{block + 1}")
        names |= _styled(f"{ours}.up", f"dec.convs.{2 * block}")
        names |= _styled(f"{ours}.conv", f"dec.convs.{2 * block + 1}")
        names |= _modulated(f"{ours}.to_flow", f"dec.to_flows.{block}.conv")
        names[f"{ours}.flow_bias"] = f"dec.to_flows.{block}.bias"
        names[f"{ours}.to_rgb.conv.weight"] = f"dec.to_rgbs.{block}.conv.0.weight"
        names[f"{ours}.to_rgb.bias"] = f"dec.to_rgbs.{block}.conv.1.bias"
        names[f"{ours}.rgb_bias"] = f"dec.to_rgbs.{block}.bias"
    return names


def discriminator_names(size_px: int) -> dict[str, str]:
    """Return the published name of each of our discriminator's parameters."""
    names = {
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
        names |= _residual(f"blocks.{block}", f"convs.{block + 1}")
    return names


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


def unused_entries(network: NetworkSettings) -> dict[str, Tensor]:
    """Return the entries of a published generator that nothing computes with, as a fresh one holds them."""
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


def published_shape(name: str, shape: torch.Size) -> tuple[int, ...]:
    """Return the shape under which the published code keeps a parameter that we keep as `shape`."""
    is_modulated = (
        name.startswith("dec.") and len(shape) == 4 and ".to_rgb" not in name and ".input" not in name
    )
    if is_modulated:
        return (1, *shape)
    is_act_bias = name.endswith(".bias") and not any(part in name for part in ("fc.", "modulation", "linear"))
    return (1, *shape, 1, 1) if is_act_bias else tuple(shape)


def read_published(path: Path) -> dict[str, Any]:
    """Read a published checkpoint's dict, without running anything that it holds.

    Raises:
        ValueError: the file is missing, or is not a checkpoint of LIA.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give a published LIA checkpoint (.pt)")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{path} is not a checkpoint that can be read safely ({reason}); give a LIA .pt file"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("gen"), dict):
        found = (
            ", ".join(sorted(map(str, content))[:5]) if isinstance(content, dict) else type(content).__name__
        )
        raise ValueError(f"{path} holds {found}; a LIA checkpoint holds its generator under 'gen': give one")
    return content


def infer_network(state: Mapping[str, Tensor]) -> NetworkSettings:
    """Return the settings of the network whose published state dict this is, from its names and shapes.

    Raises:
        ValueError: they fit no LIA of any size and width.
    """
    num_blocks = sum(name.startswith("dec.to_flows.") and name.endswith(".conv.weight") for name in state)
    size_px = 4 * 2**num_blocks
    try:
        latent_dim, num_directions = state["dec.direction.weight"].shape
        width = state["dec.input.input"].shape[1] / PUBLISHED_CHANNELS[4]
    except KeyError as error:
        raise ValueError(
            f"the generator holds no {error.args[0]}: it is not a LIA generator; give one"
        ) from None
    return NetworkSettings.model_validate(
        {"size_px": size_px, "width": width, "latent_dim": latent_dim, "num_directions": num_directions}
    )


def from_published(
    module: nn.Module, names: Mapping[str, str], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Load a published state dict into `module` and return the entries that it has no use for.

    Raises:
        ValueError: an entry is missing or of another shape.
    """
    ours = module.state_dict()
    for name, theirs in names.items():
        wanted = published_shape(theirs, ours[name].shape)
        got = tuple(state[theirs].shape) if theirs in state else None
        if got != wanted:
            raise ValueError(
                f"{theirs} is {'missing' if got is None else f'of shape {got}'}; a {type(module).__name__} "
                f"of this size holds it with shape {wanted}: give a whole, unchanged checkpoint"
            )
        ours[name] = state[theirs].reshape(ours[name].shape)
    module.load_state_dict(ours)
    return {name: value for name, value in state.items() if name not in set(names.values())}


def to_published(
    module: nn.Module, names: Mapping[str, str], unused: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a module's weights under the published names and shapes, together with `unused`."""
    ours = module.state_dict()
    renamed = {
        theirs: ours[name].reshape(published_shape(theirs, ours[name].shape))
        for name, theirs in names.items()
    }
    return renamed | dict(unused)


def import_checkpoint(path: Path, directory: Path) -> ImportReport:
    """Turn a published checkpoint into a checkpoint directory of ours.

    Raises:
        ValueError: the file is not a LIA checkpoint, or it holds an entry that no LIA has.
    """
    content = read_published(path)
    network = infer_network(content["gen"])
    generator = build_generator(network, seed=0)
    unused = from_published(generator, generator_names(network.size_px), content["gen"])
    _require_known("gen", unused, unused_entries(network))
    discriminator = None
    if "dis" in content:
        discriminator = build_discriminator(network, seed=0)
        kernels = from_published(discriminator, discriminator_names(network.size_px), content["dis"])
        _require_known("dis", kernels, _discriminator_kernels(network))
        unused |= {f"dis/{name}": value for name, value in kernels.items()}

    def write(folder: Path) -> None:
        write_config(folder, network, {"imported_from": path.name})
        save_weights(generator, folder / GENERATOR)
        if discriminator is not None:
            save_weights(discriminator, folder / DISCRIMINATOR)
        save_file({name: value.contiguous() for name, value in unused.items()}, folder / UNUSED)

    write_directory(directory, write)
    return ImportReport(
        network,
        sum(len(part) for part in (content["gen"], content.get("dis", {}))) - len(unused),
        sorted(unused),
        [part for part in IGNORED_PARTS if part in content],
    )


def _discriminator_kernels(network: NetworkSettings) -> dict[str, Tensor]:
    entries: dict[str, Tensor] = {}
    for block in range(len(octaves(network.size_px))):
        entries |= _residual_kernels(f"convs.{block + 1}")
    return entries


def _require_known(part: str, unused: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
    unknown = sorted(unused.keys() - known.keys())
    if unknown:
        raise ValueError(
            f"{part} holds {len(unknown)} entries that no LIA of this size has (first: {unknown[0]}); "
            "give an unchanged LIA checkpoint"
        )


def export_checkpoint(directory: Path, path: Path) -> None:
    """Write a checkpoint directory in the published format: `gen`, and `dis` where there is a discriminator.

    Raises:
        ValueError: the directory is not a checkpoint.
    """
    network = read_config(directory).network
    generator = build_generator(network, seed=0)
    load_weights(generator, directory / GENERATOR)
    kept = read_tensors(directory / UNUSED) if (directory / UNUSED).is_file() else {}
    unused = unused_entries(network) | {
        name: value for name, value in kept.items() if not name.startswith("dis/")
    }
    content = {"gen": to_published(generator, generator_names(network.size_px), unused)}
    if (directory / DISCRIMINATOR).is_file():
        discriminator = build_discriminator(network, seed=0)
        load_weights(discriminator, directory / DISCRIMINATOR)
        kernels = _discriminator_kernels(network) | dict(_of_discriminator(kept))
        content["dis"] = to_published(discriminator, discriminator_names(network.size_px), kernels)
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    partial.rename(path)


def _of_discriminator(kept: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix("dis/"), value) for name, value in kept.items() if name.startswith("dis/"))
