"""A training run of this project: its name, its start in MLflow, what is sent later, where its result is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lia_model.checkpoints.directory import read_config
from lia_model.data.shard_cache import are_tars_elsewhere
from lia_model.data.sharded_clips import ShardedClips
from lia_model.registry import models
from lia_model.registry.run_sender import DataSet, RunOpening, RunSender, TrackingError, waiting_senders
from lia_model.settings import TrainSettings
from lia_model.training.run_identity import identity_digest, run_identity
from lia_model.training.tracking import description
from lia_model.training.validation.pairs import has_held_out_clips
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.shards.file_hashes import verify_shards
from preprocessing.shards.manifest import Manifest, Split, data_digest, read_manifest
from preprocessing.storage.object_store import Store

DIGEST_CHARS = 12

logger = logging.getLogger(__name__)


def located(settings: TrainSettings, root: Path) -> TrainSettings:
    """Return the settings with absolute paths and `init_from` resolved to a directory.

    The working directory of Ray's workers is not the project's.
    """
    init_from = settings.init_from
    if init_from is not None:
        uri = init_from if init_from.startswith("models:/") else root / init_from
        init_from = str(models.resolve(uri).directory)
    return settings.with_paths_under(root).model_copy(update={"init_from": init_from})


def require_files(settings: TrainSettings) -> None:
    """Check that the files named by the settings exist, before anything starts.

    Raises:
        ValueError: one is missing.
    """
    perceptual = settings.losses.perceptual
    if perceptual.weight and not perceptual.weights.is_file():
        raise ValueError(
            f"train.losses.perceptual.weights: {perceptual.weights} does not exist; run `lia fetch models`, "
            f"or name a file with {perceptual.backbone}"
        )


def require_shards(settings: TrainSettings, shards: Path, store: Store | None) -> None:
    """Open the splits that a training of these settings reads, before anything starts.

    A split whose tars are in the store is left to the machines that train, which open their own copies.

    Raises:
        ValueError: one is not as the manifest says, or its frames are of another size, or there is no store
            and tars are missing.
    """
    splits: list[Split] = ["train"]
    if settings.validate_every_steps and has_held_out_clips(shards):
        splits.append("test")
    for split in splits:
        if store is None or not are_tars_elsewhere(shards, split):
            verify_shards(shards, split)
            ShardedClips(shards, split)


def run_name(settings: TrainSettings, manifest: Manifest) -> str:
    """Return the run's name, a hash of what decides its result; the settings hold absolute paths."""
    return "train-" + identity_digest(run_identity(settings, manifest))[:DIGEST_CHARS]


def present_run(params: Params, paths: ProjectPaths) -> str | None:
    """Return the name of the run of the settings and the shards; None if a file of it is missing."""
    try:
        return run_name(located(params.train, paths.root), read_manifest(paths.shards))
    except (ValueError, FileNotFoundError):
        return None


def opening(
    name: str,
    settings: TrainSettings,
    manifest: Manifest,
    source_keys: Sequence[str],
    artifacts: Path,
    commit: str,
    correlation_id: str,
) -> RunOpening:
    """Return what opens the MLflow run called `name`: settings, data set, keys of its videos and commit."""
    earlier = None
    if settings.init_from is not None:
        # This model was also trained on the sources of the checkpoint it starts from.
        earlier = read_config(Path(settings.init_from)).provenance.get("run_id")
    return RunOpening(
        name=name,
        artifacts=str(artifacts),
        params=settings.model_dump(mode="json"),
        tags={
            "lia.commit": commit,
            "lia.identity_disjoint": str(manifest.identity_disjoint),
            "lia.identity_disjoint_reason": manifest.identity_disjoint_reason,
            "lia.correlation_id": correlation_id,
        },
        description=description.RUN,
        data_set=DataSet(
            name="shards",
            digest=data_digest(manifest),
            source="data/shards",
            profile=manifest.counts.model_dump(),
        ),
        source_keys=list(source_keys),
        earlier_run_id=earlier,
    )


def send(sender: RunSender) -> None:
    """Send what waits of a run, or warn of what will be sent later."""
    try:
        sender.send()
    except TrackingError as error:
        logger.warning(
            "%s; %d lines of the journal of %s wait on disk, for the next `lia train` or `lia release`",
            error,
            sender.num_waiting(),
            sender.name,
        )


def send_waiting(paths: ProjectPaths) -> None:
    """Send what earlier runs of the project could not."""
    for sender in waiting_senders(paths.journals()):
        logger.info("sending to MLflow what the run %s could not", sender.name)
        send(sender)


def released_directory(runs: Path, run: str) -> Path:
    """Return where a run's released generator is kept for `lia release --run`, by the run's id or name."""
    return runs / "released" / run
