"""What a checkpoint records of its origin, and what of it a resumed run must not change."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lia_model.losses.perceptual import describe_perceptual
from lia_model.settings import TrainSettings
from lia_model.training.run_identity import run_identity
from preprocessing.settings import flatten
from preprocessing.shards.manifest import Manifest, data_digest

UNSET = "not set"
IDENTITY = "identity"
"""Key of the settings that decide the result, with files by content; `train` holds all settings."""

logger = logging.getLogger(__name__)


def build_provenance(
    settings: TrainSettings, manifest: Manifest, *, run_id: str | None, run_name: str, commit: str
) -> dict[str, Any]:
    """Return the provenance of a run's checkpoints, as plain values.

    Args:
        settings: of the run.
        manifest: of its shards.
        run_id: MLflow's id of the run, None if it is not known yet; without MLflow, any that identifies it.
        run_name: the run's name.
        commit: of the code.
    """
    return {
        "run_id": run_id,
        "run_name": run_name,
        "commit": commit,
        "data_digest": data_digest(manifest),
        "identity_disjoint": manifest.identity_disjoint,
        "identity_disjoint_reason": manifest.identity_disjoint_reason,
        "crop": manifest.crop.model_dump(),
        "fps": manifest.fps,
        "train": settings.model_dump(mode="json"),
        IDENTITY: run_identity(settings, manifest)["train"],
        "perceptual": describe_perceptual(settings.losses.perceptual, manifest.size_px),
    }


def require_same_run(recorded: Mapping[str, Any], current: Mapping[str, Any], directory: Path) -> None:
    """Check that a run goes on with the data and the settings it was started with.

    Args:
        recorded: provenance of its checkpoint; what one of an earlier version lacks is not compared.
        current: provenance of the checkpoints to come.
        directory: of the checkpoint, for the message.

    Raises:
        ValueError: something has changed that decides the result; the message names it.
    """
    changes = []
    if recorded.get("data_digest", current["data_digest"]) != current["data_digest"]:
        changes.append(f"shards {recorded['data_digest']} -> {current['data_digest']}")
    if IDENTITY in recorded:
        before, now = flatten(recorded[IDENTITY]), flatten(current[IDENTITY])
        changes += [
            f"{name} {before.get(name, UNSET)} -> {now.get(name, UNSET)}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name, UNSET) != now.get(name, UNSET)
        ]
    if changes:
        raise ValueError(
            f"{directory} was trained otherwise ({'; '.join(changes)}): restore that to resume, or train in "
            "another folder, with init_from to start from these weights"
        )


def described_commit(root: Path) -> str:
    """Return the checkout's commit, with `-dirty` if tracked files are changed.

    It is `unknown`, with a warning, if git cannot tell: without git or `.git`, without a commit, or in a
    checkout that another user owns.
    """
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        reason = "git is not installed"
    else:
        if described.returncode == 0:
            return described.stdout.strip()
        reason = (described.stderr.strip().splitlines() or ["git gave no reason"])[0]
    logger.warning("the model's commit is recorded as unknown: %s", reason)
    return "unknown"
