"""Stage release: register a run's model as challenger, and promote it if it passes the champion's gate."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from prefect import flow, task

from lia_model.animator import Animator
from lia_model.checkpoints.directory import read_config
from lia_model.evaluation import champion_gate
from lia_model.evaluation.champion_gate import Verdict
from lia_model.evaluation.scores import reconstruction_l1
from lia_model.registry import aliases, models
from lia_model.registry.runs import run_id_of
from lia_model.settings import EvaluateSettings, ReleaseSettings
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.train import released_directory, send_waiting
from preprocessing.shards.manifest import read_manifest

logger = logging.getLogger(__name__)


def run_release(
    params: Params, paths: ProjectPaths, run_id: str | None = None, name: str | None = None
) -> int:
    """Register a model and let the gate decide whether it becomes champion.

    Args:
        params: the settings.
        paths: of the project.
        run_id: MLflow run whose model is released; None for that of checkpoints/final.
        name: registered name; None for `release.name`.

    Raises:
        ValueError: no model was trained, or not by that run.
    """
    send_waiting(paths)
    checkpoint = find_checkpoint(paths.checkpoints / "final", paths.runs, run_id)
    settings = params.release.model_copy(update={"name": name} if name else {})
    evaluation = params.evaluate.with_paths_under(paths.root)
    release_flow(checkpoint, settings, evaluation, paths.shards)
    return 0


def find_checkpoint(final: Path, runs: Path, run_id: str | None) -> Path:
    """Return the checkpoint directory to release: `final`, or what the run `run_id` left under `runs`.

    Raises:
        ValueError: no model was trained, or not by that run.
    """
    if run_id is None:
        if not final.is_dir():
            raise ValueError(f"{final} does not exist: train a model first with `dvc repro train`")
        return final
    released = released_directory(runs, run_id)
    if not released.is_dir():
        known = sorted(folder.name for folder in released.parent.glob("*")) or ["none yet"]
        raise ValueError(f"run {run_id!r} left no model here; runs that did: {', '.join(known)}")
    return released


@flow(
    name="release", flow_run_name="release-{settings.name}", persist_result=False, validate_parameters=False
)
def release_flow(
    checkpoint: Path, settings: ReleaseSettings, evaluation: EvaluateSettings, shards: Path
) -> str:
    """Register, set `challenger`, compare, and promote or log why not; return the version."""
    version = register_once(checkpoint, settings.name)
    champion = aliases.version_of(settings.name, aliases.CHAMPION)
    if champion == version:
        logger.info("%s version %s is champion already", settings.name, version)
        return version
    aliases.set_alias(settings.name, aliases.CHALLENGER, version)
    verdict = pass_gate(settings, version, champion, evaluation, shards)
    models.tag_version(settings.name, version, verdict.tags)
    if verdict.is_passed:
        aliases.set_alias(settings.name, aliases.CHAMPION, version)
    logger.info("%s version %s: %s", settings.name, version, verdict.reason)
    return version


@task(name="register", persist_result=False)
def register_once(checkpoint: Path, name: str) -> str:
    """Return the version that holds this checkpoint, registering it if no version does."""
    provenance = read_config(checkpoint).provenance
    run_id = run_id_of(provenance)
    known = models.version_of_run(name, run_id)
    if known is not None:
        return known
    tags = {
        "lia.commit": provenance["commit"],
        "lia.data_digest": provenance["data_digest"],
        "lia.identity_disjoint": str(provenance["identity_disjoint"]),
        "lia.crop": json.dumps(provenance["crop"], sort_keys=True),
    }
    return models.register(name, checkpoint, run_id, tags)


@task(name="gate", persist_result=False)
def pass_gate(
    settings: ReleaseSettings, version: str, champion: str | None, evaluation: EvaluateSettings, shards: Path
) -> Verdict:
    """Return the gate's verdict; to compare, it measures both models now, on the same clips."""
    manifest = read_manifest(shards)
    refusal = champion_gate.check_list(
        is_identity_disjoint=manifest.identity_disjoint, allow_by_time=settings.allow_by_time
    )
    if refusal is not None:
        return refusal
    if champion is None:
        return champion_gate.UNOPPOSED
    challenger_l1, champion_l1 = (
        mean_l1(f"models:/{settings.name}/{each}", shards, evaluation) for each in (version, champion)
    )
    held_out = json.dumps(manifest.splits.test.model_dump(mode="json"), sort_keys=True)
    return champion_gate.compare(
        challenger_l1,
        champion_l1,
        champion_version=champion,
        list_sha256=hashlib.sha256(held_out.encode()).hexdigest(),
    )


def mean_l1(uri: str, shards: Path, settings: EvaluateSettings) -> float:
    """Return a registered model's mean L1 on the held-out clips."""
    animator = Animator.load(uri, settings.device, settings.precision)
    return reconstruction_l1(animator, shards, settings)


def run_rollback(name: str) -> int:
    """Point the alias `champion` of the model `name` back at the version its champion replaced.

    Raises:
        ValueError: no version is champion, or the champion replaced none.
    """
    champion = aliases.version_of(name, aliases.CHAMPION)
    if champion is None:
        raise ValueError(f"no version of {name!r} is champion: release one first with `lia release`")
    before = models.version_tag(name, champion, aliases.REPLACED_TAG)
    if before is None:
        raise ValueError(
            f"version {champion} of {name!r} is the first champion: there is no version to return to"
        )
    aliases.set_alias(name, aliases.CHAMPION, before)
    logger.info("%s: champion is version %s again; it was %s", name, before, champion)
    return 0
