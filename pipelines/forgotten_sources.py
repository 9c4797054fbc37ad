"""Models that were trained on videos that have been taken down since."""

from __future__ import annotations

import logging
from pathlib import Path

from lia_model.checkpoints.directory import read_config
from lia_model.registry.models import ResolvedModel, registry_errors
from lia_model.registry.outages import reason_of
from lia_model.registry.runs import Run, run_of
from lia_model.registry.versions import version_at
from preprocessing.sources.tombstones import read_tombstones

logger = logging.getLogger(__name__)


def forgotten_sources(run: Run, tombstones: Path) -> list[str]:
    """Return the keys of the videos taken down that a run's model, or the one it began with, was trained on.

    Raises:
        ValueError: the tombstones cannot be read.
    """
    return sorted(run.source_keys() & read_tombstones(tombstones))


def describe_forgotten(keys: list[str]) -> str:
    """Return in words that a model was trained on these videos."""
    videos = f"video {keys[0]}, which was" if len(keys) == 1 else f"{len(keys)} videos that were"
    return f"trained on {videos} taken down"


def warn_of_forgotten(model: ResolvedModel, tombstones: Path) -> None:
    """Warn if a model that is loaded was trained on a video that was taken down, or if that is unknown."""
    if not tombstones.is_file():
        return
    try:
        # Without tombstones the registry is not asked: importing MLflow takes seconds.
        run_id = _run_of(model) if read_tombstones(tombstones) else None
        keys = [] if run_id is None else forgotten_sources(Run(run_id), tombstones)
    except (ValueError, *registry_errors()) as error:
        reason = reason_of(error)
        logger.warning("whether %s was trained on videos taken down is unknown: %s", model.uri, reason)
        return
    if keys:
        logger.warning(
            "%s was %s: train on the shards without it, and release that model",
            model.uri,
            describe_forgotten(keys),
        )


def _run_of(model: ResolvedModel) -> str | None:
    if model.version is not None:
        return version_at(model.uri).run_id
    return run_of(read_config(model.directory).provenance)
