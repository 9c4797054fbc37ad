"""The state of a training run at one step, and its checkpoint directory."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from lia_model.checkpoints.directory import (
    DISCRIMINATOR,
    GENERATOR,
    load_generator,
    load_weights,
    read_config,
    read_tensors,
    save_tensors,
    write_config,
)
from lia_model.checkpoints.file_hashes import verify_hashes, write_hashes
from lia_model.checkpoints.versions import TRAINING_JSON
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.networks.discriminator import Discriminator
from lia_model.networks.generator import Generator
from lia_model.networks.layers import lay_out_weights
from lia_model.settings import NetworkSettings, OptimizerSettings, TrainSettings
from lia_model.training.data_parallel import is_first_rank
from lia_model.training.pairs.damage import Damage
from preprocessing.storage.files import write_folder_atomically

TRAINING = "training.safetensors"
# StyleGAN2 corrects Adam for its lazy regularisers, every 4 and every 16 steps; LIA has no such regularisers
# but keeps the factors.
GENERATOR_FACTOR = 4 / 5
DISCRIMINATOR_FACTOR = 16 / 17

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Networks, averaged generator, optimizers, and how far the run has come."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    step: int
    """Updates made."""
    num_pairs: int
    """Pairs consumed, over all ranks; the number of the next pair."""
    damage: Damage = field(default_factory=Damage)
    """Frames that did not decode."""

    def released_generator(self, ema_decay: float) -> Generator:
        """Return the generator to evaluate and release: the average, or at decay 0 the last weights."""
        return self.average if ema_decay else self.generator


def new_state(settings: TrainSettings, size_px: int, device: torch.device) -> TrainingState:
    """Return the state at step 0: fresh weights from the seed, or those of `init_from`.

    Raises:
        ValueError: `init_from` is not a checkpoint, or holds a network of another shape.
    """
    shape = settings.network.at(size_px)
    generator = build_generator(shape, settings.seed)
    generator.synthesis.weaken_flow(settings.initial_flow.scale, settings.initial_flow.mask_bias)
    discriminator = build_discriminator(shape, settings.seed + 1)
    if settings.init_from is not None:
        _start_from(Path(settings.init_from), generator, discriminator, shape)
    generator, discriminator = generator.to(device), discriminator.to(device)
    for network in (generator, discriminator):
        lay_out_weights(network)
    average = copy.deepcopy(generator).requires_grad_(False).eval()
    return TrainingState(
        generator,
        discriminator,
        average,
        *build_optimizers(generator, discriminator, settings.optimizer),
        step=0,
        num_pairs=0,
    )


def _start_from(
    directory: Path, generator: Generator, discriminator: Discriminator, shape: NetworkSettings
) -> None:
    require_network(directory, shape, "train.init_from")
    generator.load_state_dict(load_generator(directory).state_dict())
    if (directory / DISCRIMINATOR).is_file():
        load_weights(discriminator, directory / DISCRIMINATOR)
    elif is_first_rank():
        log.warning(
            "train.init_from = %s has no %s, as released models have none: the discriminator starts fresh",
            directory,
            DISCRIMINATOR,
        )


def require_network(directory: Path, shape: NetworkSettings, name: str) -> None:
    """Check that a checkpoint holds networks of this shape.

    Args:
        directory: of the checkpoint.
        shape: of the settings and of the shards' images.
        name: of the checkpoint in the error.

    Raises:
        ValueError: it holds others.
    """
    found, wanted = read_config(directory).network.model_dump(), shape.model_dump()
    names = [key for key in wanted if found[key] != wanted[key]]
    if names:
        held, given = (", ".join(f"{key} {values[key]}" for key in names) for values in (found, wanted))
        raise ValueError(
            f"{name} = {directory} holds networks with {held}, train.network and the shards give {given}: "
            "change these, or name another checkpoint"
        )


def build_optimizers(
    generator: nn.Module, discriminator: nn.Module, settings: OptimizerSettings
) -> tuple[Adam, Adam]:
    """Return Adam for each network, with the published factors on rates and decays."""
    return tuple(
        Adam(
            module.parameters(),
            lr=rate * factor,
            betas=(0.0, 0.99**factor),
            eps=1e-8,
            fused=True,
        )
        for module, rate, factor in (
            (generator, settings.generator_lr, GENERATOR_FACTOR),
            (discriminator, settings.discriminator_lr, DISCRIMINATOR_FACTOR),
        )
    )  # pyright: ignore[reportReturnType] - two items


def save_state(state: TrainingState, directory: Path, provenance: dict[str, Any]) -> None:
    """Write a training checkpoint with its hashes, from which `load_state` resumes bit for bit.

    Raises:
        FloatingPointError: a value is not finite; nothing is written.
    """
    with write_folder_atomically(directory) as folder:
        write_state(state, folder, provenance)
        write_hashes(folder)


def write_state(state: TrainingState, folder: Path, provenance: dict[str, Any]) -> None:
    """Write the files of a training checkpoint, without their hashes, into a folder that exists.

    Raises:
        FloatingPointError: a value is not finite; nothing is written.
    """
    write_snapshot(take_snapshot(state), folder, provenance)


@dataclass(frozen=True)
class Snapshot:
    """A copy of a training state in the host's memory, which training does not change any more."""

    network: NetworkSettings
    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor]
    training: dict[str, Tensor]
    """The averaged generator and both optimizers."""
    counters: dict[str, Any]
    step: int

    def released_generator(self, ema_decay: float) -> dict[str, Tensor]:
        """Return the weights to evaluate and release, as `TrainingState.released_generator`."""
        return _under("average.", self.training) if ema_decay else self.generator


def take_snapshot(state: TrainingState) -> Snapshot:
    """Copy a state; all that a training waits for when a checkpoint is due."""
    training = {f"average.{name}": value for name, value in state.average.state_dict().items()}
    for prefix, module, optimizer in _optimizers(state):
        training |= _optimizer_tensors(prefix, module, optimizer)
    copies = [
        {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        for tensors in (state.generator.state_dict(), state.discriminator.state_dict(), training)
    ]
    counters = {"step": state.step, "num_pairs": state.num_pairs, **state.damage.counters()}
    return Snapshot(state.generator.settings, *copies, counters=counters, step=state.step)


def write_snapshot(snapshot: Snapshot, folder: Path, provenance: dict[str, Any]) -> None:
    """Write the files of a training checkpoint, without their hashes, into a folder that exists.

    Raises:
        FloatingPointError: a value is not finite; nothing is written.
    """
    files = {
        GENERATOR: snapshot.generator,
        DISCRIMINATOR: snapshot.discriminator,
        TRAINING: snapshot.training,
    }
    for tensors in files.values():
        _require_finite(tensors)
    write_config(folder, snapshot.network, provenance)
    for name, tensors in files.items():
        save_tensors(tensors, folder / name)
    (folder / TRAINING_JSON).write_text(json.dumps(snapshot.counters) + "\n")


def load_state(state: TrainingState, directory: Path) -> None:
    """Load a checkpoint into `state`, which was built with the same settings.

    Raises:
        ValueError: the directory is not a training checkpoint of these settings, or a file has changed since
            it was written.
    """
    verify_hashes(directory)
    require_network(directory, state.generator.settings, "the run's checkpoint")
    load_weights(state.generator, directory / GENERATOR)
    load_weights(state.discriminator, directory / DISCRIMINATOR)
    tensors = read_tensors(directory / TRAINING)
    state.average.load_state_dict(_under("average.", tensors))
    for prefix, module, optimizer in _optimizers(state):
        _load_optimizer(module, optimizer, _under(prefix, tensors))
    counters = json.loads((directory / TRAINING_JSON).read_text())
    if "num_pairs" not in counters:
        raise ValueError(
            f"{directory} was written by an earlier version, whose runs cannot be resumed: start a new run "
            "with it as train.init_from"
        )
    state.step, state.num_pairs = counters["step"], counters["num_pairs"]
    state.damage = Damage.from_counters(counters)


def _require_finite(tensors: dict[str, Tensor]) -> None:
    wrong = [name for name, value in tensors.items() if not value.isfinite().all()]
    if wrong:
        raise FloatingPointError(
            f"{wrong[0]} is not finite at a checkpoint; no update writes such a value, so memory or a device "
            "is faulty: run again on another machine, from the checkpoint before"
        )


def _optimizers(state: TrainingState) -> list[tuple[str, nn.Module, Optimizer]]:
    return [
        ("generator_optimizer.", state.generator, state.generator_optimizer),
        ("discriminator_optimizer.", state.discriminator, state.discriminator_optimizer),
    ]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_tensors(prefix: str, module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"{prefix}{name}/{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _load_optimizer(module: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    for name, parameter in module.named_parameters():
        kept = _under(f"{name}/", tensors)
        if kept:
            # Adam keeps its moments in the layout of the parameter, and its step count there if it is fused,
            # on the CPU if it is not.
            home = parameter.device if optimizer.defaults["fused"] else "cpu"
            optimizer.state[parameter] = {
                key: value.to(home, copy=True) if key == "step" else torch.empty_like(parameter).copy_(value)
                for key, value in kept.items()
            }
