"""The door to MLflow: runs, metrics, registered models, their aliases, and model URIs → directories.

MLflow is imported inside the functions, so that loading a checkpoint directory needs torch alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ResolvedModel:
    """A model URI brought down to files."""

    directory: Path
    """Checkpoint directory on this machine."""
    name: str
    """Registered name, or the directory's."""
    version: str | None
    """Registered version, or None for a directory."""


def resolve(uri: str | Path) -> ResolvedModel:
    """Find the checkpoint directory behind a model URI; an alias is resolved to its version once.

    Raises:
        ValueError: neither a directory nor a registered model.
    """
    if str(uri).startswith("models:/"):
        return _resolve_registered(str(uri))
    directory = Path(uri)
    if not directory.is_dir():
        raise ValueError(
            f"model {str(uri)!r} is neither a directory nor models:/NAME@ALIAS nor models:/NAME/VERSION: "
            "name one that exists"
        )
    return ResolvedModel(directory.resolve(), directory.name, None)
