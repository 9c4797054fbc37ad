"""Trains on a folder in this process, on a machine that has torch and no Ray, MLflow or Prefect.

The folder holds `train.json` (the `train` section of params.yaml as JSON) and `shards`; `checkpoints` is
written, and with --profile `profile`. A second call resumes; one process at a time may train on the folder.
`lia evaluate` and `lia release` take the result, as checkpoints/final of a project with these shards.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from lia_model.checkpoints.best import copy_best, forget_best, keep_if_best, read_best
from lia_model.checkpoints.directory import read_config, save_generator
from lia_model.checkpoints.versions import CheckpointVersions
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.allocator import keep_freed_memory
from lia_model.device.selection import resolve_device
from lia_model.settings import TrainSettings
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.provenance import (
    build_provenance,
    described_commit,
    require_same_run,
)
from lia_model.training.run_identity import identity_digest, run_identity
from lia_model.training.schedule import is_validation_due
from lia_model.training.state import TrainingState, load_state, new_state, write_state
from lia_model.training.stop import TrainingStopped
from lia_model.training.tracking.step_trace import FOLDER, StepTrace, announced, require_steps
from lia_model.training.validation.validator import Validator, is_possible, save_picture
from preprocessing.shards.file_hashes import verify_shards
from preprocessing.shards.manifest import read_manifest
from preprocessing.storage.lease import held_lease

LEASE = "lease.json"
RUN_ID_CHARS = 32
RUN_NAME_CHARS = 12

log = logging.getLogger(__name__)


def train_directory(directory: Path, *, with_profile: bool = False) -> Path:
    """Train on `directory` in this process, or resume; return the released generator's checkpoint.

    Released are the weights of the best validation, or the last ones of a run without validation.

    Args:
        directory: of the run.
        with_profile: write a trace of some steps to its folder `profile`; the result stays the same.

    Raises:
        ValueError: the folder lacks settings or shards, its checkpoint comes from other data or settings, or
            another process trains on it, or too few steps are left for a trace.
    """
    path = directory / "train.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: write the `train` section of params.yaml to it, as JSON")
    settings = _read_settings(path)
    with held_lease(directory / LEASE, f"the run in {directory}"):
        return _train(directory, settings, with_profile=with_profile)


def _read_settings(path: Path) -> TrainSettings:
    try:
        return TrainSettings.model_validate_json(path.read_text())
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling is the better message.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such key: remove it, or correct its name"
        raise ValueError(f"{path}: {f'{key}: ' if key else ''}{message}") from None


def _train(directory: Path, settings: TrainSettings, *, with_profile: bool) -> Path:
    shards, checkpoints = directory / "shards", directory / "checkpoints"
    device = resolve_device("cuda" if settings.use_gpu else "cpu")
    keep_freed_memory()
    torch.set_num_threads(settings.num_threads)
    verify_shards(shards, "train")
    clips = ShardedClips(shards, "train")
    provenance = _provenance(settings, shards)
    writer = _Writer(settings, checkpoints, provenance)
    if is_possible(settings, shards):
        verify_shards(shards, "test")
        writer.validator = Validator(shards, settings, device)
    state = new_state(settings, clips.size_px, device)
    writer.resume(state)
    loader = build_loader(clips, settings)
    hooks = Hooks(on_metrics=_log_metrics, on_checkpoint=writer.write)
    if with_profile:
        require_steps(state.step, settings.num_steps)
        trace = StepTrace(settings.num_steps, partial(_keep_trace, directory / FOLDER))
        hooks = replace(hooks, on_step=trace.after_step)
    run(state, loader, settings, hooks)
    final = checkpoints / "final"
    best = read_best(checkpoints)
    if best is None:
        save_generator(final, state.released_generator(settings.ema_decay), provenance)
    else:
        log.info("releasing step %d, the best by validation: %s %.4f", best.step, best.metric, best.score)
        copy_best(checkpoints, final)
    return final


def main(arguments: Sequence[str]) -> None:
    """Train on the folder that the command line names; exit 2, with one line, on bad input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with_profile = "--profile" in arguments
    try:
        (directory,) = (each for each in arguments if each != "--profile")
    except ValueError:
        log.error("usage: python -m lia_model.training.loop DIR [--profile]")
        sys.exit(2)
    try:
        log.info("%s", train_directory(Path(directory), with_profile=with_profile))
    except (ValueError, TrainingStopped) as error:
        log.error("%s", error)
        sys.exit(2 if isinstance(error, ValueError) else 1)


@dataclass
class _Writer:
    """Writes and validates the checkpoints of a run."""

    settings: TrainSettings
    checkpoints: Path
    provenance: dict[str, Any]
    validator: Validator | None = None

    def write(self, state: TrainingState) -> None:
        """Validate the weights if that is due, keep them if they are the best, and write a checkpoint."""
        # In this order: from its checkpoint a killed run would go on without the validation.
        self._validate(state)
        with self._versions.write(state.step) as folder:
            write_state(state, folder, self.provenance)

    def _validate(self, state: TrainingState) -> None:
        if self.validator is None or not is_validation_due(state.step, self.settings):
            return
        generator = state.released_generator(self.settings.ema_decay)
        found = self.validator.validate(generator, state.step)
        _log_metrics(state.step, found.metrics)
        for name, picture in found.pictures.items():
            save_picture(picture, self.checkpoints / "validation" / f"{name}.png")
        keep_if_best(self.checkpoints, generator, self.provenance, found.record)

    def resume(self, state: TrainingState) -> None:
        """Load the latest checkpoint, which has to be of this run; without one, forget the best."""
        # Earlier versions of this program kept one checkpoint, under this name.
        single = self.checkpoints / "latest"
        latest = self._versions.latest() or (single if single.is_dir() else None)
        if latest is None:
            forget_best(self.checkpoints)
            return
        require_same_run(read_config(latest).provenance, self.provenance, latest)
        load_state(state, latest)
        log.info("resuming at step %d", state.step)

    @property
    def _versions(self) -> CheckpointVersions:
        return CheckpointVersions(self.checkpoints / "steps", self.settings.num_kept_checkpoints)


def _keep_trace(folder: Path, trace: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    log.info("%s", announced(str(shutil.copy(trace, folder / name))))


def _log_metrics(step: int, values: dict[str, float]) -> None:
    log.info("step %d %s", step, values)


def _provenance(settings: TrainSettings, shards: Path) -> dict[str, Any]:
    manifest = read_manifest(shards)
    digest = identity_digest(run_identity(settings, manifest))
    return build_provenance(
        settings,
        manifest,
        run_id=digest[:RUN_ID_CHARS],
        run_name=f"folder-{digest[:RUN_NAME_CHARS]}",
        commit=described_commit(Path(__file__).parents[2]),
    )
