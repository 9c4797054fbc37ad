"""Import and export of published LIA checkpoints.

The released files are dicts of torch tensors, with the keys of `published_keys`. Entries that no computation
uses are kept in a file of their own, so that an imported checkpoint is exported bit for bit as it was.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lia_model.checkpoints.crop_record import KEY
from lia_model.checkpoints.directory import (
    DISCRIMINATOR,
    GENERATOR,
    load_weights,
    read_config,
    read_tensors,
    save_tensors,
    save_weights,
    write_config,
)
from lia_model.checkpoints.published_keys import (
    discriminator_keys,
    generator_keys,
    published_shape,
    unused_discriminator_entries,
    unused_generator_entries,
)
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.networks.layers import PUBLISHED_CHANNELS
from lia_model.settings import NetworkSettings
from preprocessing.shards.manifest import CropFacts
from preprocessing.storage.files import write_atomically, write_folder_atomically

UNUSED = "published_unused.safetensors"
IGNORED_PARTS = ("g_optim", "d_optim", "args")
# What the restricted unpickler raises on files that are no checkpoints.
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
    """What an import did with every entry of a published checkpoint."""

    network: NetworkSettings
    num_used: int
    """Entries whose values became our parameters."""
    unused: list[str]
    """Keys that no computation uses, kept for export."""
    left_out: list[str]
    """Parts of a training checkpoint that are not imported, such as its optimizers."""


def read_published(path: Path) -> dict[str, Any]:
    """Read a published checkpoint's dict, without executing any code that its pickle contains.

    Raises:
        ValueError: the file is missing, or is not a LIA checkpoint.
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
    """Infer a network's settings from the keys and shapes of its published state dict.

    Raises:
        ValueError: they fit no LIA generator of any size and width.
    """
    num_blocks = sum(name.startswith("dec.to_flows.") and name.endswith(".conv.weight") for name in state)
    size_px = 4 * 2**num_blocks
    try:
        latent_dim, num_directions = state["dec.direction.weight"].shape
        width = state["dec.input.input"].shape[1] / PUBLISHED_CHANNELS[4]
    except KeyError as error:
        raise ValueError(
            f"the generator holds no {error.args[0]}: it is not a LIA generator; give a LIA checkpoint"
        ) from None
    return NetworkSettings.model_validate(
        {"size_px": size_px, "width": width, "latent_dim": latent_dim, "num_directions": num_directions}
    )


def from_published(
    module: nn.Module, keys: Mapping[str, str], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Load a published state dict into `module` and return the entries it does not use.

    Raises:
        ValueError: an entry is missing or of another shape.
    """
    ours = module.state_dict()
    for name, theirs in keys.items():
        wanted = published_shape(theirs, ours[name].shape)
        got = tuple(state[theirs].shape) if theirs in state else None
        if got != wanted:
            raise ValueError(
                f"{theirs} is {'missing' if got is None else f'of shape {got}'}; a {type(module).__name__} "
                f"of this size holds it with shape {wanted}: give a whole, unchanged checkpoint"
            )
        ours[name] = state[theirs].reshape(ours[name].shape)
    module.load_state_dict(ours)
    return {name: value for name, value in state.items() if name not in set(keys.values())}


def to_published(
    module: nn.Module, keys: Mapping[str, str], unused: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a module's weights under the published keys and shapes, together with `unused`."""
    ours = module.state_dict()
    renamed = {
        theirs: ours[name].reshape(published_shape(theirs, ours[name].shape)) for name, theirs in keys.items()
    }
    return renamed | dict(unused)


def import_checkpoint(path: Path, directory: Path, crop: CropFacts | None = None) -> ImportReport:
    """Convert a published checkpoint to a checkpoint directory, which records `crop` unless it is None.

    Raises:
        ValueError: the file is not a LIA checkpoint, or holds an entry that LIA does not have.
    """
    content = read_published(path)
    network = infer_network(content["gen"])
    generator = build_generator(network, seed=0)
    unused = from_published(generator, generator_keys(network.size_px), content["gen"])
    _require_known("gen", unused, unused_generator_entries(network))
    discriminator = None
    if "dis" in content:
        discriminator = build_discriminator(network, seed=0)
        kernels = from_published(discriminator, discriminator_keys(network.size_px), content["dis"])
        _require_known("dis", kernels, unused_discriminator_entries(network))
        unused |= {f"dis/{name}": value for name, value in kernels.items()}

    with write_folder_atomically(directory) as folder:
        provenance: dict[str, Any] = {"imported_from": path.name}
        if crop is not None:
            provenance[KEY] = crop.model_dump()
        write_config(folder, network, provenance)
        save_weights(generator, folder / GENERATOR)
        if discriminator is not None:
            save_weights(discriminator, folder / DISCRIMINATOR)
        save_tensors(unused, folder / UNUSED)
    return ImportReport(
        network,
        sum(len(part) for part in (content["gen"], content.get("dis", {}))) - len(unused),
        sorted(unused),
        [part for part in IGNORED_PARTS if part in content],
    )


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
    unused = unused_generator_entries(network) | {
        name: value for name, value in kept.items() if not name.startswith("dis/")
    }
    content = {"gen": to_published(generator, generator_keys(network.size_px), unused)}
    if (directory / DISCRIMINATOR).is_file():
        discriminator = build_discriminator(network, seed=0)
        load_weights(discriminator, directory / DISCRIMINATOR)
        kernels = unused_discriminator_entries(network) | dict(_of_discriminator(kept))
        content["dis"] = to_published(discriminator, discriminator_keys(network.size_px), kernels)
    with write_atomically(path) as temporary:
        torch.save(content, temporary)


def _of_discriminator(kept: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix("dis/"), value) for name, value in kept.items() if name.startswith("dis/"))
