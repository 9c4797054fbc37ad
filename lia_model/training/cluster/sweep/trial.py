"""A sweep and its trials: what each one tries, and what its folder tells of it.

A trial is known by its number, which decides its values, its folder and its run in MLflow. So whatever is
killed, the next process with the same number goes on where the last one was. The folder holds the journal,
the checkpoints, the best generator by validation, and how the trial ended.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lia_model.checkpoints.best import copy_best, read_best
from lia_model.checkpoints.versions import CheckpointVersions
from lia_model.data.shard_cache import shards_here
from lia_model.registry.run_journal import curves
from lia_model.registry.run_sender import OPENING, RunOpening
from lia_model.settings import TrainSettings
from lia_model.training.cluster.checkpoint_validation import RELEASED
from lia_model.training.cluster.sweep.settings import SweepSettings, with_values
from preprocessing.shards.manifest import Split
from preprocessing.storage.files import write_atomically, write_folder_atomically
from preprocessing.storage.object_store import Store

JOURNAL = "mlflow"
End = Literal["finished", "stopped early", "failed"]

Report = Callable[[int, float], None]
"""Takes a step and the score there; it may end the process."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """One sweep, as plain values that are sent to the trials; paths are absolute."""

    sweep: SweepSettings
    base: dict[str, Any]
    """Settings of the training, whose values the trials replace; as JSON values."""
    shards: Path
    store_url: str | None
    """Object store that has the tars which are not in `shards`; None for none."""
    name: str
    """Names the sweep's folder and its run in MLflow; a second sweep of the same name resumes it."""
    storage: Path
    provenance: dict[str, Any]
    """Stored in every checkpoint."""
    opening: RunOpening
    """Opens the runs of the trials, with the settings of each."""

    @contextmanager
    def readable_shards(self, split: Split) -> Iterator[Path]:
        """Yield a folder with the shards of a split: that of the project, or a copy from the store."""
        store = None if self.store_url is None else Store(self.store_url)
        cache = TrainSettings.model_validate(self.base).shard_cache
        with shards_here(self.shards, self.provenance["data_digest"], split, store, cache) as folder:
            yield folder

    @property
    def folder(self) -> Path:
        """Return where the trials leave what they have."""
        return self.storage / self.name

    def trials(self) -> list[Trial]:
        """Return all trials, started or not."""
        return [Trial(self, number) for number in range(self.sweep.num_trials)]

    def journals(self) -> list[Path]:
        """Return the folders of the journals of the trials that were started."""
        return [trial.journal for trial in self.trials() if (trial.journal / OPENING).is_file()]


@dataclass(frozen=True)
class Outcome:
    """The weights that a trial proposes, and how good they are."""

    trial: Trial
    score: float
    step: int
    """Of the score."""
    released_step: int
    """Of the weights: not that of the score where a loss ranks the trials and validations choose weights."""


@dataclass(frozen=True)
class Trial:
    """One trial; what it tells is read from its folder."""

    work: Sweep
    number: int

    @property
    def name(self) -> str:
        """Return the name of its run in MLflow."""
        return f"{self.work.name}-{self.number:03d}"

    @property
    def folder(self) -> Path:
        """Return the folder with all that is known of it."""
        return self.work.folder / "trials" / f"{self.number:03d}"

    @property
    def journal(self) -> Path:
        """Return the folder of its journal."""
        return self.folder / JOURNAL

    @cached_property
    def values(self) -> dict[str, Any]:
        """Return the values that it tries, by dotted key."""
        return self.work.sweep.values_of(self.number)

    @cached_property
    def settings(self) -> TrainSettings:
        """Return the settings of its training."""
        return TrainSettings.model_validate(with_values(self.work.base, self.values))

    @property
    def checkpoints(self) -> CheckpointVersions:
        """Return its checkpoints."""
        return CheckpointVersions(self.folder / "steps", self.settings.num_kept_checkpoints)

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Return its scores, by step."""
        sweep = self.work.sweep
        found = curves(self.journal, (sweep.metric,)).get(sweep.metric, {})
        return sorted((step, sweep.comparable(score)) for step, score in found.items())

    @property
    def end(self) -> tuple[End, str] | None:
        """Return how it ended and why; None if it is to go on."""
        path = self.folder / "end.json"
        if not path.is_file():
            return None
        told = json.loads(path.read_text())
        return told["end"], told["reason"]

    def note_end(self, end: End, reason: str = "") -> None:
        """Note how it ended; it does not go on after that."""
        with write_atomically(self.folder / "end.json") as file:
            file.write_text(json.dumps({"end": end, "reason": reason}) + "\n")

    def outcome(self) -> Outcome | None:
        """Return what it proposes; None if it failed or has no checkpoint with a score."""
        latest, best = self.checkpoints.latest(), read_best(self.folder)
        if latest is None or (self.end or ("", ""))[0] == "failed":
            return None
        if self.work.sweep.is_by_validation:
            return None if best is None else Outcome(self, best.score, best.step, best.step)
        last_step = _step_of(latest)
        reached = [(step, score) for step, score in self.scores if step <= last_step and math.isfinite(score)]
        if not reached:
            return None
        step, score = reached[-1]
        return Outcome(self, score, step, last_step if best is None else best.step)

    def copy_released(self, place: Path) -> None:
        """Copy the weights that it proposes to the folder `place`, which is replaced."""
        latest = self.checkpoints.latest()
        if read_best(self.folder) is not None:
            copy_best(self.folder, place)
        elif latest is not None:
            with write_folder_atomically(place) as folder:
                shutil.copytree(latest / RELEASED, folder, dirs_exist_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one process at a time train it: that of a killed sweep may live for some seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "training.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
