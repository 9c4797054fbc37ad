"""Stage release: register a run's model as challenger, and promote it if it passes the champion's gate."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from lia_model.checkpoints.directory import GENERATOR, read_config
from lia_model.evaluation.champion import gate
from lia_model.evaluation.champion.gate import Verdict
from lia_model.registry import aliases, models
from lia_model.registry.licences import licence_tags
from lia_model.registry.runs import Run
from lia_model.registry.versions import version_at
from lia_model.settings import EvaluateSettings, ReleaseSettings
from pipelines.forgotten_sources import describe_forgotten, forgotten_sources
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.checkpoint_run import run_of_checkpoint
from pipelines.stages.held_out_shards import held_out_shards
from pipelines.stages.model_card import card_content, find_licences, write_card
from pipelines.stages.release_gate import Challenger, pass_gate
from pipelines.training_run import released_directory, send_waiting
from preprocessing.storage.files import file_sha256
from preprocessing.storage.object_store import Store

ROLLED_BACK_TAG = "lia.rolled_back"
"""Tag of a version that was champion: when, to which version and why a rollback replaced it."""

logger = logging.getLogger(__name__)


class ForgottenSourceError(Exception):
    """A champion was trained on videos that were taken down since."""


@dataclass(frozen=True)
class Release:
    """What became of a released model."""

    name: str
    """Registered name."""
    version: str
    """Registered version."""
    is_champion: bool
    verdict: Verdict | None
    """None if the version was champion before."""

    @property
    def text(self) -> str:
        """Return lines for a terminal."""
        head = f"{self.name} version {self.version}"
        if self.verdict is None:
            return f"{head} is champion already"
        if self.is_champion:
            return f"{head}: {self.verdict.text}"
        return (
            f"{head}: {self.verdict.text}\n  it stays challenger: to use it all the same, name "
            f"models:/{self.name}@{aliases.CHALLENGER}"
        )


def run_release(
    params: Params,
    paths: ProjectPaths,
    run_id: str | None = None,
    name: str | None = None,
    store: Store | None = None,
) -> Release:
    """Register a model and let the gate decide whether it becomes champion.

    Args:
        params: the settings.
        paths: of the project.
        run_id: MLflow run whose model is released; None for that of checkpoints/final.
        name: registered name; None for `release.name`.
        store: where held-out clips are fetched from that are not in data/shards; None for nowhere.

    Raises:
        ValueError: no model was trained, or not by that run.
        ForgottenSourceError: the model is champion and was trained on videos that were taken down.
    """
    send_waiting(paths)
    checkpoint = find_checkpoint(paths.checkpoints / "final", paths.runs, run_id)
    settings = params.release.model_copy(update={"name": name} if name else {})
    evaluation = params.evaluate.with_paths_under(paths.root)
    run = run_of_checkpoint(checkpoint, paths.artifacts, paths.shards)
    with held_out_shards(paths.shards, params.train.shard_cache, store) as shards:
        return release_flow(checkpoint, run, settings, evaluation, paths, shards)


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


def release_checkpoint(
    checkpoint: Path,
    run: Run,
    settings: ReleaseSettings,
    evaluation: EvaluateSettings,
    paths: ProjectPaths,
    shards: Path,
) -> Release:
    """Register, set `challenger`, compare on the clips held out in `shards`, promote or record why not."""
    licences = find_licences(checkpoint, run, paths)
    version = register_once(checkpoint, run, settings.name, licences)
    champion = aliases.version_of(settings.name, aliases.CHAMPION)
    if champion == version:
        return _released_again(settings.name, version, run, paths.tombstones)
    aliases.set_alias(settings.name, aliases.CHALLENGER, version)
    verdict = check_takedowns(run, paths.tombstones) or pass_gate(
        Challenger(settings.name, version, checkpoint, run), champion, settings, evaluation, shards
    )
    if verdict.is_passed and aliases.version_of(settings.name, aliases.CHAMPION) != champion:
        verdict = gate.refusal("another version became champion meanwhile; run `lia release` again")
    card = card_content(checkpoint, (settings.name, version), verdict, licences, run, paths.shards)
    models.record_verdict(settings.name, version, verdict.tags, write_card(card, run))
    if verdict.is_passed:
        aliases.set_alias(settings.name, aliases.CHAMPION, version)
    return Release(settings.name, version, verdict.is_passed, verdict)


release_flow = flow(
    name="release", flow_run_name="release-{settings.name}", persist_result=False, validate_parameters=False
)(release_checkpoint)


def _released_again(name: str, version: str, run: Run, tombstones: Path) -> Release:
    """Return that a version stays champion.

    Raises:
        ForgottenSourceError: it was trained on videos that were taken down.
    """
    keys = forgotten_sources(run, tombstones)
    if keys:
        raise ForgottenSourceError(
            f"{name} version {version} is champion and was {describe_forgotten(keys)}: train again on the "
            "present shards and release that model, or run `lia rollback`"
        )
    return Release(name, version, True, None)


def register_once(checkpoint: Path, run: Run, name: str, licences: Mapping[str, str]) -> str:
    """Return the version that holds this checkpoint, registering it if no version does."""
    provenance = read_config(checkpoint).provenance
    weights_sha256 = file_sha256(checkpoint / GENERATOR)
    known = models.version_of_run(name, run.run_id, weights_sha256)
    if known is not None:
        models.tag_version(name, known, licence_tags(licences))
        return known
    recorded = {
        f"lia.{key}": str(provenance[key])
        for key in ("commit", "data_digest", "identity_disjoint", "identity_disjoint_reason")
        if key in provenance
    }
    crop = json.dumps(provenance.get("crop", {}), sort_keys=True)
    tags = recorded | {"lia.crop": crop, models.WEIGHTS_TAG: weights_sha256, **licence_tags(licences)}
    return models.register(name, checkpoint, run.run_id, tags)


def check_takedowns(run: Run, tombstones: Path) -> Verdict | None:
    """Return a refusal if the run's model was trained on videos that were taken down, else None."""
    keys = forgotten_sources(run, tombstones)
    return gate.check_sources(describe_forgotten(keys) if keys else None)


def run_rollback(name: str, tombstones: Path, reason: str = "no reason given") -> int:
    """Point the alias `champion` of the model `name` back at the version its champion replaced.

    Args:
        name: registered name.
        tombstones: list of the videos that were taken down.
        reason: why, for the record: a tag of the version that was champion.

    Raises:
        ValueError: no version is champion, or the champion replaced none, or one that was trained on videos
            that were taken down since.
    """
    champion = aliases.version_of(name, aliases.CHAMPION)
    if champion is None:
        raise ValueError(f"no version of {name!r} is champion: release one first with `lia release`")
    before = models.version_tag(name, champion, aliases.REPLACED_TAG)
    if before is None:
        raise ValueError(
            f"version {champion} of {name!r} is the first champion: there is no version to return to"
        )
    refused = _refusal_to_return(f"models:/{name}/{before}", tombstones)
    if refused is not None:
        raise ValueError(refused)
    record = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, to version {before}: {reason}"
    models.tag_version(name, champion, {ROLLED_BACK_TAG: record})
    aliases.set_alias(name, aliases.CHAMPION, before)
    logger.info("%s: champion is version %s again; it was %s (%s)", name, before, champion, reason)
    return 0


def _refusal_to_return(uri: str, tombstones: Path) -> str | None:
    run_id = version_at(uri).run_id
    keys = [] if run_id is None else forgotten_sources(Run(run_id), tombstones)
    if not keys:
        return None
    return f"{uri} was {describe_forgotten(keys)}, so it cannot become champion again: release another model"
