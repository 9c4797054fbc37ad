"""`lia sweep`: trains with many settings under one MLflow run and proposes the best for release."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lia_model.registry.run_sender import RunOpening, RunSender, sending, waiting_senders
from lia_model.settings import TrainSettings
from lia_model.training.cluster.sweep.settings import SweepSettings, with_values
from lia_model.training.provenance import described_commit
from lia_model.training.run_identity import DECISIVE, FREE
from lia_model.training.tracking.description import of_sweep
from pipelines import training_run
from pipelines.environment import Environment
from pipelines.local.cluster import connected
from pipelines.params import Params, check_params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.held_out_shards import held_out_shards
from preprocessing.shards.clip_index import read_source_keys
from preprocessing.shards.manifest import Manifest, data_digest, read_manifest
from preprocessing.storage.lease import held_lease

if TYPE_CHECKING:
    from lia_model.training.cluster.sweep.trial import Sweep

logger = logging.getLogger(__name__)


def read_sweep(path: Path, params: Params) -> SweepSettings:
    """Read a sweep's file and check each of its values against the settings it replaces.

    Raises:
        ValueError: one line that names the file, the key and what is allowed there.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: write a sweep's file, as the README shows")
    try:
        settings = SweepSettings.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        known = ", ".join(SweepSettings.model_fields)
        kind = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{path}: {key}: {kind}; known keys are {known}") from None
    if settings.grace_steps > params.train.num_steps:
        raise ValueError(
            f"{path}: got grace_steps {settings.grace_steps}; at most train.num_steps, "
            f"{params.train.num_steps}, is allowed: lower it"
        )
    content = params.model_dump(mode="json")
    for key, axis in settings.space.items():
        if not key.startswith("train."):
            raise ValueError(f"{path}: got space key {key!r}; keys of train are allowed: write train.…")
        if key.split(".")[1] in FREE:
            raise ValueError(
                f"{path}: got space key {key!r}, which decides where or how long a run trains, not its "
                f"result; keys of train that may vary begin with {', '.join(sorted(DECISIVE))}: choose one"
            )
        for value in axis.extremes():
            changed: dict[str, object] = {**content, "train": with_values(content["train"], {key: value})}
            check_params(changed, path)
    return settings


def run_sweep(path: Path, params: Params, environment: Environment) -> list[str]:
    """Run a sweep, or go on with it, and return the lines of its outcome.

    Raises:
        ValueError: the file, the settings or the shards are not as they have to be.
        TrackingError: MLflow cannot be reached.
    """
    settings = read_sweep(path, params)
    paths = environment.paths
    manifest = read_manifest(paths.shards)
    base = training_run.located(params.train, paths.root)
    store = environment.store()
    training_run.require_shards(base, paths.shards, store)
    training_run.require_files(base)
    with held_out_shards(paths.shards, params.train.shard_cache, store) as shards:
        _require_metric(path, settings, base, shards)
    name = _name(settings, training_run.run_name(base, manifest), base)
    folder = paths.runs / "sweep" / name
    with held_lease(folder / "lease.json", f"the sweep {name}"):
        parent = RunSender(folder / "mlflow")
        commit, work = described_commit(paths.root), environment.correlation_id
        sources = read_source_keys(paths.shards, "train")
        opening = training_run.opening(name, base, manifest, sources, paths.artifacts, commit, work)
        told = {"params": settings.model_dump(mode="json"), "description": of_sweep(settings.metric)}
        parent.describe(opening.model_copy(update=told))
        parent_id = parent.send()
        work = _sweep(settings, base.model_dump(mode="json"), name, environment, manifest, opening, parent_id)
        status = "FAILED"
        try:
            lines = _run(work, paths, environment)
            status = "FINISHED"
        finally:
            parent.finish(status)
            training_run.send(parent)
    return lines


def _require_metric(path: Path, settings: SweepSettings, base: TrainSettings, shards: Path) -> None:
    from lia_model.training.cluster.sweep.trial_run import require_metric

    try:
        require_metric(settings, base, shards)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _run(work: Sweep, paths: ProjectPaths, environment: Environment) -> list[str]:
    from lia_model.training.cluster.sweep.tuner import run_sweep as run_trials

    with (
        connected(environment.ray_address, paths.ray_home, environment.host, environment.correlation_id),
        sending(lambda: waiting_senders(work.journals())),
    ):
        result = run_trials(work)
    best = result.best
    for trial in work.trials():
        if trial.journal in work.journals():
            sender = RunSender(trial.journal)
            sender.finish("FAILED" if trial.number in result.failures else "FINISHED")
            training_run.send(sender)
    run = RunSender(best.trial.journal).run_id or best.trial.name
    best.trial.copy_released(training_run.released_directory(paths.runs, run))
    values = ", ".join(f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
                       for key, value in best.trial.values.items())  # fmt: skip
    weights = f", with the weights of step {best.released_step}" if best.released_step != best.step else ""
    return [
        *(f"{work.trials()[number].name} failed: {reason}" for number, reason in result.failures.items()),
        f"best of {work.sweep.num_trials} trials: {best.trial.name}, {work.sweep.metric} {best.score:.4f} "
        f"at step {best.step}{weights}",
        f"with {values}",
        f"propose it as challenger: lia release --run {run}",
    ]


def _sweep(settings: SweepSettings, base: dict, name: str, environment: Environment, manifest: Manifest,
           opening: RunOpening, parent_id: str) -> Sweep:  # fmt: skip
    from lia_model.training.cluster.sweep.trial import Sweep

    return Sweep(
        sweep=settings,
        base=base,
        shards=environment.paths.shards,
        store_url=environment.store_url,
        name=name,
        storage=environment.paths.runs / "sweep",
        provenance={
            # The run of a trial is found by its name.
            "run_id": None,
            "commit": opening.tags["lia.commit"],
            "data_digest": data_digest(manifest),
            "identity_disjoint": manifest.identity_disjoint,
            "identity_disjoint_reason": manifest.identity_disjoint_reason,
            "crop": manifest.crop.model_dump(),
            "fps": manifest.fps,
        },
        opening=opening.model_copy(update={"tags": opening.tags | {"mlflow.parentRunId": parent_id}}),
    )


def _name(settings: SweepSettings, run: str, base: TrainSettings) -> str:
    """Return a name for what decides the values and the scores: not for how many trials there are."""
    decisive = settings.model_dump(mode="json", exclude={"num_trials", "num_parallel"})
    scored: dict[str, Any] = {"num_steps": True, "validate_every_steps": True}
    if settings.is_by_validation:
        scored["validation"] = {"max_num_clips", "max_num_frames_per_clip"}
    text = json.dumps([decisive, run, base.model_dump(mode="json", include=scored)], sort_keys=True)
    return "sweep-" + hashlib.sha256(text.encode()).hexdigest()[: training_run.DIGEST_CHARS]
