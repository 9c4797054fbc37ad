"""A sweep: many trainings with different settings under Ray Tune, the worse ones stopped early (ASHA).

A trial is one process that runs the same loop as a training, with the same batches. An interrupted sweep goes
on: its trials resume from their checkpoints.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune import Result
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from lia_model.checkpoints.directory import save_generator
from lia_model.checkpoints.file_hashes import write_hashes
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.allocator import keep_freed_memory
from lia_model.losses.perceptual import describe_perceptual
from lia_model.registry.run_journal import RunJournal
from lia_model.registry.run_sender import OPENING, RunOpening, RunSender
from lia_model.settings import TrainSettings
from lia_model.training.cluster.checkpoint_reporter import RELEASED
from lia_model.training.cluster.room import Wanted, wait_for_room
from lia_model.training.cluster.sweep_settings import Axis, SweepSettings, with_values
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.schedule import is_checkpoint_due
from lia_model.training.state import TrainingState, load_state, new_state, write_state
from lia_model.training.stop import TrainingStopped
from lia_model.training.tracking.rank_metrics import Machine, joined
from lia_model.training.tracking.run_logger import RunLogger

JOURNAL = "mlflow"
MAX_FAILURES = 3
"""Of one trial."""


@dataclass(frozen=True)
class Sweep:
    """One sweep, as plain values that are sent to the trials; paths are absolute."""

    sweep: SweepSettings
    base: dict[str, Any]
    """Settings of the training, whose values the trials replace; as JSON values."""
    shards: Path
    name: str
    """Names the sweep's folder and its run in MLflow; a second sweep of the same name resumes it."""
    storage: Path
    provenance: dict[str, Any]
    """Stored in every checkpoint."""
    opening: RunOpening
    """Opens the runs of the trials, with the settings of each."""

    @property
    def folder(self) -> Path:
        """Return where the trials leave what they have."""
        return self.storage / self.name

    def journals(self) -> list[Path]:
        """Return the folders of the trials' journals."""
        return sorted(path.parent for path in self.folder.glob(f"trials/*/{JOURNAL}/{OPENING}"))


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial."""

    name: str
    """Name of its run in MLflow."""
    journal: Path
    values: dict[str, Any]
    score: float
    step: int
    checkpoint: Path


def run_sweep(work: Sweep) -> tuple[Trial, int]:
    """Run all trials, or those that are left, and return the best one and the number of trials.

    Raises:
        ValueError: the cluster has no room for a trial.
        RuntimeError: no trial has a checkpoint with a finite score.
    """
    settings, base = work.sweep, TrainSettings.model_validate(work.base)
    resources: dict[str, float] = {"CPU": base.num_threads, **({"GPU": 1} if base.use_gpu else {})}
    wait_for_room(Wanted(1, resources), ray.nodes)
    trainable = tune.with_resources(tune.with_parameters(_train_trial, work=work), resources)
    if tune.Tuner.can_restore(str(work.folder / "tune")):
        tuner = tune.Tuner.restore(
            str(work.folder / "tune"),
            trainable,
            resume_unfinished=True,
            restart_errored=True,
            param_space=_space(settings),
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=_space(settings),
            tune_config=tune.TuneConfig(
                metric=settings.metric,
                mode=settings.mode,
                num_samples=settings.num_trials,
                max_concurrent_trials=settings.num_parallel,
                search_alg=BasicVariantGenerator(random_state=settings.seed),
                scheduler=ASHAScheduler(
                    time_attr="step",
                    max_t=base.num_steps,
                    grace_period=settings.grace_steps,
                    reduction_factor=settings.reduction_factor,
                ),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(work.folder),
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=base.num_kept_checkpoints),
                verbose=0,
            ),
        )
    results = tuner.fit()
    trials = [trial for result in results if (trial := _trial(work, result)) is not None]
    if not trials:
        raise RuntimeError(
            f"each trial of {work.name} diverged or ended before its first checkpoint: "
            f"see the logs in {work.folder}"
        )
    sign = 1 if settings.mode == "min" else -1
    # A resumed sweep lists its trials in another order: the name decides between equal scores.
    return min(trials, key=lambda trial: (sign * trial.score, trial.name)), len(results)


def _trial(work: Sweep, result: Result) -> Trial | None:
    """Return the outcome of a trial at its last checkpoint, or None if it has none or diverged."""
    if not result.best_checkpoints or result.metrics is None or result.config is None:
        return None
    checkpoint, metrics = max(result.best_checkpoints, key=lambda one: one[1]["step"])
    trial, score = metrics["trial_id"], metrics[work.sweep.metric]
    if not math.isfinite(score) or not math.isfinite(result.metrics[work.sweep.metric]):
        return None
    name, journal = _run_name(work, trial), _journal(work, trial)
    return Trial(name, journal, result.config, score, metrics["step"], Path(checkpoint.path))


def _space(settings: SweepSettings) -> dict[str, Any]:
    return {key: _distribution(axis) for key, axis in settings.space.items()}


def _distribution(axis: Axis) -> object:
    if axis.choice is not None:
        return tune.choice(list(axis.choice))
    if axis.uniform is not None:
        return tune.uniform(*axis.uniform)
    assert axis.log_uniform is not None
    return tune.loguniform(*axis.log_uniform)


def _run_name(work: Sweep, trial: str) -> str:
    return f"{work.name}-{trial}"


def _journal(work: Sweep, trial: str) -> Path:
    return work.folder / "trials" / trial / JOURNAL


def _train_trial(config: dict[str, Any], work: Sweep) -> None:
    """Train with the values of a trial, or go on; Tune may end it at any report."""
    settings = TrainSettings.model_validate(with_values(work.base, config))
    trial = tune.get_context().get_trial_id() or "trial"
    keep_freed_memory()
    torch.set_num_threads(settings.num_threads)
    clips = ShardedClips(work.shards, "train")
    state = new_state(settings, clips.size_px, torch.device("cuda" if settings.use_gpu else "cpu"))
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            load_state(state, Path(folder))
    journal = RunJournal(_journal(work, trial))
    sender = RunSender(_journal(work, trial))
    name, params = _run_name(work, trial), settings.model_dump(mode="json")
    sender.describe(work.opening.model_copy(update={"name": name, "params": params}))
    provenance = {
        **work.provenance,
        "run_name": name,
        "train": params,
        "perceptual": describe_perceptual(settings.losses.perceptual, clips.size_px),
    }
    hooks = _hooks(work, settings, RunLogger(journal, settings.strip_every_steps), provenance)
    try:
        run(state, build_loader(clips, settings), settings, hooks)
    except TrainingStopped:
        # It diverged: as bad as can be, and no reason to end the others.
        worst = float("inf") if work.sweep.mode == "min" else float("-inf")
        tune.report({"step": state.step + 1, work.sweep.metric: worst})


def _hooks(work: Sweep, settings: TrainSettings, run_logger: RunLogger, provenance: dict[str, Any]) -> Hooks:
    machine = Machine(torch.device("cuda" if settings.use_gpu else "cpu"))
    latest: dict[str, float] = {}

    def on_metrics(step: int, values: dict[str, float]) -> None:
        values = joined(values, machine.measure())
        run_logger.add_metrics(step, values)
        latest.update(values)
        if work.sweep.metric not in latest:
            raise ValueError(
                f"sweep: the metric {work.sweep.metric} is not among those of a training: choose one of "
                f"{', '.join(sorted(latest))}"
            )
        # Tune may end a trial at any report: the one of a step with a checkpoint comes with it.
        if not is_checkpoint_due(step, settings):
            tune.report({"step": step, work.sweep.metric: latest[work.sweep.metric]})

    def on_checkpoint(state: TrainingState) -> None:
        run_logger.commit()
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_state(state, folder, provenance)
            save_generator(folder / RELEASED, state.released_generator(settings.ema_decay), provenance)
            write_hashes(folder)
            score = latest.get(work.sweep.metric, float("nan"))
            tune.report(
                {"step": state.step, work.sweep.metric: score},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )

    return Hooks(on_metrics=on_metrics, on_strip=run_logger.add_strip, on_checkpoint=on_checkpoint)
