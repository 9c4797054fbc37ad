"""Checkpoint directories: `config.json` and safetensors files, never a pickle.

Writers use `write_folder_atomically`, so an interrupted one leaves no partial checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lia_model.networks.build import build_generator
from lia_model.networks.generator import Generator
from lia_model.settings import NetworkSettings
from preprocessing.settings import Settings
from preprocessing.storage.files import write_folder_atomically

FORMAT_VERSION = 1
CONFIG = "config.json"
GENERATOR = "generator.safetensors"
DISCRIMINATOR = "discriminator.safetensors"


class CheckpointConfig(Settings):
    """Content of `config.json`, which describes the weights beside it."""

    format_version: int
    """Increased when older readers could misread the directory."""
    network: NetworkSettings
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Origin of the weights, free in form: training settings, data hash, MLflow run; `crop_record` reads
    `crop`."""


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's state dict as safetensors."""
    save_tensors(module.state_dict(), path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: the disk does not take them.
    """
    values = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(values, path)
    except SafetensorError:
        # It has the system's error in its text alone: a full disk refuses zeros with the error itself.
        with path.open("wb") as file:
            for value in values.values():
                file.write(bytes(value.nbytes))
        raise


def load_weights(module: nn.Module, path: Path) -> None:
    """Load `path` into `module`; names and shapes have to match exactly.

    Raises:
        ValueError: the file is missing, is not safetensors, or holds other names or shapes than the module.
    """
    state = read_tensors(path)
    wanted = module.state_dict()
    wrong = [
        name
        for name in sorted(wanted.keys() | state.keys())
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not fit this {type(module).__name__}: {len(wrong)} of {len(wanted)} tensors are "
            f"missing, unknown or of another shape (first: {wrong[0]}); use the file written with config.json"
        )
    module.load_state_dict(state)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        ValueError: the file is missing or is not safetensors.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give a file with weights in safetensors format")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error}); fetch or convert it again") from None


def read_config(directory: Path) -> CheckpointConfig:
    """Read `config.json` of a checkpoint directory.

    Raises:
        ValueError: the file is missing, is not a checkpoint's config, or has a newer format.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise ValueError(
            f"{directory} is not a checkpoint directory: it has no {CONFIG}; name one that `lia train` wrote"
        )
    try:
        config = CheckpointConfig.model_validate(json.loads(path.read_text()))
    except (json.JSONDecodeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is not a checkpoint's config ({reason}): copy the checkpoint again"
        ) from None
    if config.format_version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {config.format_version}; this installation reads up to "
            f"{FORMAT_VERSION}: update it"
        )
    return config


def write_config(directory: Path, network: NetworkSettings, provenance: dict[str, Any]) -> None:
    """Write `config.json` into `directory`."""
    config = CheckpointConfig(format_version=FORMAT_VERSION, network=network, provenance=provenance)
    (directory / CONFIG).write_text(
        json.dumps(config.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    )


def save_generator(directory: Path, generator: Generator, provenance: dict[str, Any] | None = None) -> None:
    """Write a checkpoint directory with the generator only."""
    with write_folder_atomically(directory) as folder:
        write_generator(folder, generator.settings, generator.state_dict(), provenance or {})


def write_generator(
    folder: Path, network: NetworkSettings, weights: Mapping[str, Tensor], provenance: dict[str, Any]
) -> None:
    """Write the files of a checkpoint with the generator only into a folder that exists."""
    write_config(folder, network, provenance)
    save_tensors(weights, folder / GENERATOR)


def load_generator(directory: Path) -> Generator:
    """Return the generator of a checkpoint directory, in evaluation mode on the CPU.

    Raises:
        ValueError: the directory is not a checkpoint, or its files do not fit together.
    """
    generator = build_generator(read_config(directory).network, seed=0)
    load_weights(generator, directory / GENERATOR)
    return generator.eval()
