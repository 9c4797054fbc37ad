"""A sweep: many trainings with different settings under Ray Tune, the worse ones stopped early (ASHA).

Tune starts the trials and decides which are stopped; all that outlives a kill is in the trials' folders. An
interrupted sweep starts Tune anew, with the trials that are left and the scores of all.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from lia_model.settings import TrainSettings
from lia_model.training.cluster.room import Wanted, wait_for_room
from lia_model.training.cluster.sweep.trial import Outcome, Sweep, Trial
from lia_model.training.cluster.sweep.trial_run import train_trial

MAX_FAILURES = 3
"""Of one trial's process."""
STEP, SCORE, TRIAL = "step", "score", "trial"


@dataclass(frozen=True)
class Result:
    """What became of a sweep."""

    best: Outcome
    failures: dict[int, str]
    """Why some of the trials failed, by number."""


def run_sweep(work: Sweep) -> Result:
    """Run all trials, or those that are left, and return the best one.

    Raises:
        ValueError: the cluster has no room for a trial.
        RuntimeError: no trial has a checkpoint with a score.
    """
    trials = work.trials()
    failures = {trial.number: trial.end[1] for trial in trials if trial.end and trial.end[0] == "failed"}
    if any(trial.end is None for trial in trials):
        failures |= _run(work, trials)
    outcomes = [outcome for trial in trials if (outcome := trial.outcome()) is not None]
    if not outcomes:
        raise RuntimeError(
            f"each trial of {work.name} failed or ended before its first checkpoint with a score: "
            f"{'; '.join(failures.values()) or 'lower train.checkpoint_every_steps'}"
        )
    sign = 1 if work.sweep.mode == "min" else -1
    return Result(min(outcomes, key=lambda one: (sign * one.score, one.trial.number)), failures)


def _run(work: Sweep, trials: list[Trial]) -> dict[int, str]:
    """Run the trials that have not ended; return why some of them failed, by number."""
    settings, base = work.sweep, TrainSettings.model_validate(work.base)
    resources: dict[str, float] = {"CPU": base.num_threads, **({"GPU": 1} if base.use_gpu else {})}
    wait_for_room(Wanted(1, resources), ray.nodes)
    # What Tune kept of an interrupted sweep is of no use: it may lack trials that had started.
    shutil.rmtree(work.folder / "tune", ignore_errors=True)
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(_train_trial, work=work), resources),
        param_space={TRIAL: tune.grid_search([trial.number for trial in trials if trial.end is None])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=settings.num_parallel, scheduler=_scheduler(work, base.num_steps, trials)
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(work.folder),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[_NoteEnds(work)],
            verbose=0,
        ),
    ).fit()
    failures = {}
    for result in results:
        if result.config is not None and (number := result.config[TRIAL]) is not None:
            if result.error is not None:
                failures[number] = str(result.error).strip().splitlines()[-1]
            elif (end := trials[number].end) is not None and end[0] == "failed":
                failures[number] = end[1]
    return failures


def _scheduler(work: Sweep, num_steps: int, trials: list[Trial]) -> ASHAScheduler:
    """Return the scheduler, which knows the scores of the trials that have ended."""
    scheduler = ASHAScheduler(
        time_attr=STEP,
        metric=SCORE,
        mode=work.sweep.mode,
        max_t=num_steps,
        grace_period=work.sweep.grace_steps,
        reduction_factor=work.sweep.reduction_factor,
    )
    for trial in trials:
        if trial.end is not None:
            # All that the scheduler asks of a trial is its id.
            ended: Any = SimpleNamespace(trial_id=trial.name)
            controller: Any = None
            scheduler.on_trial_add(controller, ended)
            for step, score in trial.scores:
                scheduler.on_trial_result(controller, ended, {STEP: step, SCORE: score})
    return scheduler


class _NoteEnds(tune.Callback):
    """Notes which trials the scheduler stopped; the others note their end themselves."""

    def __init__(self, work: Sweep) -> None:
        self._work = work

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        ended = Trial(self._work, trial.config[TRIAL])
        if ended.end is None:
            ended.note_end("stopped early")


def _train_trial(config: dict[str, Any], work: Sweep) -> None:
    """Train one trial in a process of Tune's, which may end it at any report."""
    train_trial(Trial(work, config[TRIAL]), lambda step, score: tune.report({STEP: step, SCORE: score}))
