"""What a run is: the settings and data that decide its result, as opposed to where and how long it trains.

A run may go on with other values of the free settings, on another machine and in another checkout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lia_model.checkpoints.directory import DISCRIMINATOR, GENERATOR
from lia_model.settings import TrainSettings
from preprocessing.shards.manifest import Manifest
from preprocessing.storage.files import file_sha256

DECISIVE = frozenset(
    {
        "augmentation",
        "ema_decay",
        "global_batch_size",
        "init_from",
        "initial_flow",
        "losses",
        "micro_batch_size",
        "network",
        "optimizer",
        "pairs_per_visit",
        "precision",
        "sampling",
        "seed",
    }
)
"""Settings with another value of which a run is another run."""
FREE = frozenset(
    {
        "checkpoint_every_steps",
        "compile",
        "deterministic",
        "log_every_steps",
        "milestone_every_steps",
        "num_kept_checkpoints",
        "num_steps",
        "num_threads",
        "num_workers",
        "shard_cache",
        "strip_every_steps",
        "use_gpu",
        "validate_every_steps",
        "validation",
    }
)
"""Settings that may change between two parts of a run. They reach its result in rounding alone, and by the
number of its steps."""


def run_identity(settings: TrainSettings, manifest: Manifest) -> dict[str, Any]:
    """Return what decides a run's result, as JSON values: files by their content, not by their path.

    Args:
        settings: with absolute paths, and `init_from` as a directory.
        manifest: of the shards.
    """
    decisive = settings.model_dump(include=set(DECISIVE))
    if settings.init_from is not None:
        decisive["init_from"] = _checkpoint(Path(settings.init_from))
    return {"train": _by_content(decisive), "shards": manifest.model_dump(mode="json")}


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Return the sha256 of an identity, in hex."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _checkpoint(directory: Path) -> dict[str, Any]:
    return {name: directory / name for name in (GENERATOR, DISCRIMINATOR) if (directory / name).is_file()}


def _by_content(value: Any) -> Any:  # noqa: ANN401 - any settings
    if isinstance(value, Mapping):
        return {key: _by_content(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(each) for each in value]
    if isinstance(value, Path):
        # A file that is missing belongs to a term of weight 0; for any other, training does not start.
        return {"sha256": file_sha256(value) if value.is_file() else None}
    return value
