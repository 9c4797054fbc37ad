"""The MLflow run to which a checkpoint's evaluation and release are logged."""

from __future__ import annotations

import logging
from pathlib import Path

from lia_model.checkpoints.directory import GENERATOR, read_config
from lia_model.registry import runs
from preprocessing.shards.clip_index import read_source_keys
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.storage.files import file_sha256

DIGEST_CHARS = 12

logger = logging.getLogger(__name__)


def run_of_checkpoint(checkpoint: Path, artifacts: Path, shards: Path) -> runs.Run:
    """Return the run that trained a checkpoint, or one that stands for it in this MLflow store.

    A checkpoint that was trained without MLflow, or came from another project, gets a run of its own, which
    a second call finds by its name.

    Args:
        checkpoint: its directory.
        artifacts: absolute folder of MLflow's files.
        shards: the shards here; the videos in them are recorded if the checkpoint was trained on these
            shards, so that `lia forget` finds the model.
    """
    provenance = read_config(checkpoint).provenance
    known = runs.run_of(provenance)
    if known is not None:
        return runs.Run(known)
    name = provenance.get("run_name")
    if name is None:
        name = f"checkpoint-{file_sha256(checkpoint / GENERATOR)[:DIGEST_CHARS]}"
    tags = {
        f"lia.{key}": str(provenance[key])
        for key in ("commit", "identity_disjoint", "identity_disjoint_reason")
        if key in provenance
    }
    run = runs.open_run(name, artifacts, {}, tags | {"lia.trained_by": str(provenance.get("run_id"))})
    run.finish()
    if provenance.get("data_digest") == data_digest(read_manifest(shards)):
        run.log_source_keys(set(read_source_keys(shards, "train")))
    else:
        logger.warning(
            "%s was trained on other shards than these, so the videos it was trained on are not recorded: "
            "evaluate and release it where its shards are",
            checkpoint,
        )
    return run
