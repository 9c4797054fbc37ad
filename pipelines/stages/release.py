"""Stage release: register a run's model as challenger, and promote it if it passes the champion's gate."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from lia_model.checkpoints.directory import GENERATOR, read_config
from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_list import write_pair_list
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.champion import gate
from lia_model.evaluation.champion.gate import Verdict
from lia_model.evaluation.champion.gate_evidence import CHALLENGER, CHAMPION, measure
from lia_model.evaluation.scores import EvaluatedModel
from lia_model.registry import aliases, models
from lia_model.registry.licences import licence_tags
from lia_model.registry.runs import Run
from lia_model.registry.versions import version_at
from lia_model.settings import EvaluateSettings, ReleaseSettings
from pipelines.forgotten_sources import describe_forgotten, forgotten_sources
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.checkpoint_run import run_of_checkpoint
from pipelines.stages.model_card import card_content, find_licences, write_card
from pipelines.training_run import released_directory, send_waiting
from preprocessing.shards.manifest import read_manifest
from preprocessing.storage.files import file_sha256

ARTIFACTS = "release"
"""Folder of a run with the pairs and the verdict of its latest release."""
LISTED = "evaluation_list.json"
"""File in it with the pairs."""
ROLLED_BACK_TAG = "lia.rolled_back"
"""Tag of a version that was champion: when, to which version and why a rollback replaced it."""

logger = logging.getLogger(__name__)


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
    params: Params, paths: ProjectPaths, run_id: str | None = None, name: str | None = None
) -> Release:
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
    run = run_of_checkpoint(checkpoint, paths.artifacts, read_manifest(paths.shards))
    return release_flow(checkpoint, run, settings, evaluation, paths)


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
    checkpoint: Path, run: Run, settings: ReleaseSettings, evaluation: EvaluateSettings, paths: ProjectPaths
) -> Release:
    """Run `release_checkpoint` as a flow."""
    return release_checkpoint(checkpoint, run, settings, evaluation, paths)


def release_checkpoint(
    checkpoint: Path, run: Run, settings: ReleaseSettings, evaluation: EvaluateSettings, paths: ProjectPaths
) -> Release:
    """Register, set `challenger`, compare, and promote or record why not."""
    licences = find_licences(checkpoint, run, paths)
    version = register_once(checkpoint, run, settings.name, licences)
    champion = aliases.version_of(settings.name, aliases.CHAMPION)
    if champion == version:
        return Release(settings.name, version, True, None)
    aliases.set_alias(settings.name, aliases.CHALLENGER, version)
    verdict = check_takedowns(run, paths.tombstones) or pass_gate(
        settings, version, champion, evaluation, paths.shards, run
    )
    if verdict.is_passed and aliases.version_of(settings.name, aliases.CHAMPION) != champion:
        verdict = gate.refusal("another version became champion meanwhile; run `lia release` again")
    card = card_content(checkpoint, (settings.name, version), verdict, licences, run, paths.shards)
    models.record_verdict(settings.name, version, verdict.tags, write_card(card, run))
    if verdict.is_passed:
        aliases.set_alias(settings.name, aliases.CHAMPION, version)
    return Release(settings.name, version, verdict.is_passed, verdict)


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
        for key in ("commit", "data_digest", "identity_disjoint")
        if key in provenance
    }
    crop = json.dumps(provenance.get("crop", {}), sort_keys=True)
    tags = recorded | {"lia.crop": crop, models.WEIGHTS_TAG: weights_sha256, **licence_tags(licences)}
    return models.register(name, checkpoint, run.run_id, tags)


def check_takedowns(run: Run, tombstones: Path) -> Verdict | None:
    """Return a refusal if the run's model was trained on videos that were taken down, else None."""
    keys = forgotten_sources(run, tombstones)
    return gate.check_sources(describe_forgotten(keys) if keys else None)


def pass_gate(
    settings: ReleaseSettings,
    version: str,
    champion: str | None,
    evaluation: EvaluateSettings,
    shards: Path,
    run: Run,
) -> Verdict:
    """Measure the challenger, copying the source and the champion now, on the same pairs; return the verdict.

    Pairs and verdict are logged to `run`.
    """
    manifest = read_manifest(shards)
    refusal = gate.check_list(
        is_identity_disjoint=manifest.identity_disjoint, allow_by_time=settings.allow_by_time
    )
    if refusal is not None:
        return refusal
    try:
        reader = PairReader(shards)
        evaluated = [
            EvaluatedModel.load(role, f"models:/{settings.name}/{each}", evaluation)
            for role, each in ((CHALLENGER, version), (CHAMPION, champion))
            if each is not None
        ]
        pairs = choose_pairs(reader, evaluation, ("reconstruction",))
        evidence = measure(evaluated[0], evaluated[1] if champion else None, reader, pairs, evaluation)
    except ValueError as error:
        # No held-out clips, or a model of another size: what it says is for the operator.
        return gate.refusal(f"it cannot be compared: {error}")
    verdict = gate.decide(evidence, settings.metric)
    with tempfile.TemporaryDirectory() as folder:
        listed, judged = Path(folder) / LISTED, Path(folder) / "verdict.json"
        write_pair_list(pairs, listed)
        judged.write_text(json.dumps(asdict(verdict) | {"evidence": asdict(evidence)}, default=str) + "\n")
        for file in (listed, judged):
            run.log_file(file, ARTIFACTS)
    return verdict


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
