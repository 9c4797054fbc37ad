"""Release: register a run's model as challenger, and make it champion when it is better."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from prefect import flow, task

from lia_model.animator import Animator
from lia_model.checkpoints.directory import read_config
from lia_model.data.sharded_clips import read_manifest
from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.scores import reconstruction_l1
from lia_model.registry import models as registry
from lia_model.settings import EvaluateSettings, ReleaseSettings
from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.stages.evaluate import absolute
from pipelines.stages.train import released_directory

logger = logging.getLogger(__name__)


def run_release(
    params: Params, environment: Environment, run_id: str | None = None, name: str | None = None
) -> int:
    """Register a model and let it through the gate.

    Args:
        params: the settings.
        environment: the machine.
        run_id: MLflow run whose model is released; None for that of checkpoints/final.
        name: registered name; None for `release.name`.

    Raises:
        ValueError: there is no trained model, or no such run.
    """
    checkpoint = find_checkpoint(environment, run_id)
    settings = params.release.model_copy(update={"name": name} if name else {})
    release_flow(checkpoint, settings, absolute(params.evaluate, environment.root), environment)
    return 0


def find_checkpoint(environment: Environment, run_id: str | None) -> Path:
    """Return the checkpoint directory to release.

    Raises:
        ValueError: nothing was trained, or not by that run.
    """
    final = environment.checkpoints / "final"
    if run_id is None:
        if not final.is_dir():
            raise ValueError(f"{final} does not exist: train a model first with `dvc repro train`")
        return final
    released = released_directory(environment, run_id)
    if not released.is_dir():
        known = sorted(folder.name for folder in released.parent.glob("*")) or ["none yet"]
        raise ValueError(f"run {run_id!r} left no model here; runs that did: {', '.join(known)}")
    return released


@flow(
    name="release", flow_run_name="release-{settings.name}", persist_result=False, validate_parameters=False
)
def release_flow(
    checkpoint: Path, settings: ReleaseSettings, evaluation: EvaluateSettings, environment: Environment
) -> str:
    """Register, set `challenger`, compare, and promote or say why not; return the version."""
    version = register(checkpoint, settings.name)
    champion = registry.version_of(settings.name, registry.CHAMPION)
    if champion == version:
        logger.info("%s version %s is champion already", settings.name, version)
        return version
    registry.set_alias(settings.name, registry.CHALLENGER, version)
    verdict = judge(settings, version, champion, evaluation, environment)
    registry.tag_version(settings.name, version, verdict.tags)
    if verdict.passed:
        registry.set_alias(settings.name, registry.CHAMPION, version)
    logger.info("%s version %s: %s", settings.name, version, verdict.reason)
    return version


@task(name="register", persist_result=False)
def register(checkpoint: Path, name: str) -> str:
    """Return the version that holds this checkpoint, registering it once."""
    provenance = read_config(checkpoint).provenance
    known = registry.version_of_run(name, provenance["run_id"])
    if known is not None:
        return known
    tags = {
        "lia.commit": provenance["commit"],
        "lia.data_digest": provenance["data_digest"],
        "lia.identity_disjoint": str(provenance["identity_disjoint"]),
        "lia.crop": json.dumps(provenance["crop"], sort_keys=True),
    }
    return registry.register(name, checkpoint, provenance["run_id"], tags)


class Verdict:
    """What the gate says, and the tags that record it."""

    def __init__(self, passed: bool, reason: str, tags: dict[str, str]) -> None:
        self.passed = passed
        self.reason = reason
        self.tags = {"lia.gate": "passed" if passed else "refused", "lia.gate_reason": reason, **tags}


@task(name="gate", persist_result=False)
def judge(
    settings: ReleaseSettings,
    version: str,
    champion: str | None,
    evaluation: EvaluateSettings,
    environment: Environment,
) -> Verdict:
    """Decide whether a challenger becomes champion: lower mean L1, both evaluated now on one frozen list."""
    manifest = read_manifest(environment.shards)
    if not manifest["identity_disjoint"] and not settings.allow_by_time:
        reason = (
            "not promoted: the held-out list is split by time and so not identity-disjoint; "
            "hold out whole identities, or set release.allow_by_time for a demo"
        )
        return Verdict(False, reason, {})
    if champion is None:
        return Verdict(True, "promoted to champion: there was none", {})
    frozen = hashlib.sha256(json.dumps(manifest["splits"]["test"], sort_keys=True).encode()).hexdigest()
    scores = {
        each: mean_l1(f"models:/{settings.name}/{each}", environment.shards, evaluation)
        for each in (version, champion)
    }
    tags: dict[str, str] = {
        "lia.gate_list": frozen,
        "lia.gate_l1": f"{scores[version]:.6f}",
        "lia.gate_champion_l1": f"{scores[champion]:.6f}",
    }
    compared = f"mean L1 {scores[version]:.4f} against {scores[champion]:.4f} of champion version {champion}"
    if METRICS["l1"].is_better(scores[version], scores[champion]):
        return Verdict(True, f"promoted to champion: {compared}", tags | {registry.REPLACED_TAG: champion})
    return Verdict(False, f"not promoted: {compared}", tags)


def mean_l1(uri: str, shards: Path, settings: EvaluateSettings) -> float:
    """Return a registered model's mean L1 on the held-out clips."""
    animator = Animator.load(uri, settings.device, settings.precision)
    return reconstruction_l1(animator, shards, settings)


def run_rollback(params: Params, environment: Environment, name: str | None = None) -> int:
    """Give `champion` back to the version that the present one replaced.

    Raises:
        ValueError: there is no champion, or it replaced none.
    """
    del environment
    name = name or params.release.name
    champion = registry.version_of(name, registry.CHAMPION)
    if champion is None:
        raise ValueError(f"no version of {name!r} is champion: release one first with `lia release`")
    before = registry.version_tag(name, champion, registry.REPLACED_TAG)
    if before is None:
        raise ValueError(
            f"version {champion} of {name!r} is the first champion: there is nothing to return to"
        )
    registry.set_alias(name, registry.CHAMPION, before)
    logger.info("%s: champion is version %s again, %s before", name, before, champion)
    return 0
