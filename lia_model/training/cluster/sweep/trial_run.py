"""The training of one trial: the loop of every training in one process, which reports its scores."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lia_model.checkpoints.best import forget_best, keep_if_best
from lia_model.checkpoints.directory import save_generator
from lia_model.data.sharded_clips import ShardedClips
from lia_model.device.allocator import keep_freed_memory
from lia_model.losses.perceptual import describe_perceptual
from lia_model.losses.terms import build_objective
from lia_model.registry.run_journal import RunJournal
from lia_model.registry.run_sender import RunSender
from lia_model.settings import TrainSettings
from lia_model.training.cluster.checkpoint_validation import RELEASED
from lia_model.training.cluster.sweep.settings import VALIDATION, SweepSettings
from lia_model.training.cluster.sweep.trial import Trial
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.schedule import is_checkpoint_due, is_validation_due
from lia_model.training.state import TrainingState, load_state, new_state, write_state
from lia_model.training.stop import TrainingStopped
from lia_model.training.tracking.rank_metrics import Machine, joined
from lia_model.training.tracking.run_logger import RunLogger, add_validation
from lia_model.training.validation.validator import Validator, is_possible

Report = Callable[[int, float], None]
"""Takes a step and the score there; it may end the process."""

log = logging.getLogger(__name__)


def require_metric(sweep: SweepSettings, base: TrainSettings, shards: Path) -> None:
    """Check that trainings with the settings `base` have the metric of a sweep.

    Args:
        sweep: names the metric.
        base: settings of the trainings.
        shards: folder with the held-out clips.

    Raises:
        ValueError: they have not; the message says which there are.
    """
    if sweep.is_by_validation:
        if sweep.mode == "max":
            raise ValueError("got mode max; the smaller a result of the validation, the better: write min")
        if not is_possible(base, shards):
            raise ValueError(
                f"got metric {sweep.metric}, and nothing would be validated: set "
                "train.validate_every_steps, and hold out people"
            )
        known = Validator(shards, base, torch.device("cpu")).scores
    else:
        objective = build_objective(base.losses, torch.device("cpu"))
        known = [f"loss/{term.name}" for term in (*objective.generator, *objective.discriminator)]
    if sweep.metric not in known:
        raise ValueError(
            f"got metric {sweep.metric}; of these settings and shards {', '.join(known)} are allowed: choose "
            f"one of them, or of those that begin with {'loss/' if sweep.is_by_validation else VALIDATION}"
        )


def train_trial(trial: Trial, report: Report) -> None:
    """Train, or go on from the last checkpoint.

    Args:
        trial: which one.
        report: takes every score, first those of the time before.
    """
    with trial.exclusive():
        for step, score in trial.scores:
            report(step, score)
        if trial.end is None:
            _train(trial, report)


def _train(trial: Trial, report: Report) -> None:
    work, settings = trial.work, trial.settings
    keep_freed_memory()
    torch.set_num_threads(settings.num_threads)
    with ExitStack() as stack:
        train_shards = stack.enter_context(work.readable_shards("train"))
        is_validated = is_possible(settings, work.shards)
        test_shards = stack.enter_context(work.readable_shards("test")) if is_validated else None
        _train_on(trial, report, train_shards, test_shards)


def _train_on(trial: Trial, report: Report, train_shards: Path, test_shards: Path | None) -> None:
    work, settings = trial.work, trial.settings
    device = torch.device("cuda" if settings.use_gpu else "cpu")
    clips = ShardedClips(train_shards, "train")
    state = new_state(settings, clips.size_px, device)
    latest = trial.checkpoints.latest()
    if latest is None:
        forget_best(trial.folder)
    else:
        load_state(state, latest)
    params = settings.model_dump(mode="json")
    RunSender(trial.journal).describe(work.opening.model_copy(update={"name": trial.name, "params": params}))
    provenance = {
        **work.provenance,
        "run_name": trial.name,
        "train": params,
        "perceptual": describe_perceptual(settings.losses.perceptual, clips.size_px),
    }
    validator = None if test_shards is None else Validator(test_shards, settings, device)
    training = _Training(trial, report, RunJournal(trial.journal), provenance, validator, Machine(device))
    try:
        run(state, build_loader(clips, settings), settings, training.hooks())
    except TrainingStopped as reason:
        # As bad as can be, and no reason to end the others.
        log.warning("%s ended: %s", trial.name, reason)
        trial.note_end("failed", str(reason))
        report(state.step + 1, work.sweep.worst)
    else:
        trial.note_end("finished")


@dataclass
class _Training:
    """What becomes of a trial's metrics and checkpoints."""

    trial: Trial
    report: Report
    journal: RunJournal
    provenance: dict[str, Any]
    validator: Validator | None
    machine: Machine
    score: float | None = None
    """Not reported yet."""

    def hooks(self) -> Hooks:
        logger = RunLogger(self.journal, self.trial.settings.strip_every_steps)
        return Hooks(
            on_metrics=self.add_metrics,
            on_strip=logger.add_strip,
            on_damage=logger.log_damage,
            on_checkpoint=self.write_checkpoint,
        )

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        values = joined(values, self.machine.measure(), self.trial.settings.global_batch_size)
        self.journal.add_metrics(step, values)
        self.score = values.get(self.trial.work.sweep.metric, self.score)
        # The trial may be ended at any report: the one of a step with a checkpoint comes after it.
        if not is_checkpoint_due(step, self.trial.settings):
            self.tell(step)

    def write_checkpoint(self, state: TrainingState) -> None:
        settings = self.trial.settings
        # Before the checkpoint: from it a killed trial would go on without the validation.
        self.validate(state)
        self.journal.sync()
        with self.trial.checkpoints.write(state.step) as folder:
            write_state(state, folder, self.provenance)
            save_generator(folder / RELEASED, state.released_generator(settings.ema_decay), self.provenance)
        if state.step == settings.num_steps:
            self.trial.note_end("finished")
        self.tell(state.step)

    def validate(self, state: TrainingState) -> None:
        settings, sweep = self.trial.settings, self.trial.work.sweep
        if self.validator is None or not is_validation_due(state.step, settings):
            return
        generator = state.released_generator(settings.ema_decay)
        found = self.validator.validate(generator, state.step)
        add_validation(self.journal, found, self.validator.source_keys, settings)
        record = found.record
        if sweep.is_by_validation:
            self.score = found.metrics[sweep.metric]
            record = replace(record, metric=sweep.metric.removeprefix(VALIDATION), score=self.score)
        keep_if_best(self.trial.folder, generator, self.provenance, record)

    def tell(self, step: int) -> None:
        score, self.score = self.score, None
        if score is not None:
            self.report(step, self.trial.work.sweep.comparable(score))
