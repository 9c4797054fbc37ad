"""Aliases of registered models: which version is champion, which is challenger."""

from __future__ import annotations

from lia_model.registry.outages import is_missing
from lia_model.registry.runs import mlflow_client

CHAMPION = "champion"
CHALLENGER = "challenger"
ALIASES = (CHAMPION, CHALLENGER)
REPLACED_TAG = "lia.replaced"
"""Tag of a champion: the version it replaced, to which a rollback returns."""


def champion_uri(name: str) -> str:
    """Return the model URI of a registered model's champion."""
    return f"models:/{name}@{CHAMPION}"


def version_of(name: str, alias: str) -> str | None:
    """Return the version an alias points at, or None if the model or the alias does not exist."""
    from mlflow import MlflowException

    try:
        return str(mlflow_client().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if is_missing(error):
            return None
        raise


def set_alias(name: str, alias: str, version: str) -> None:
    """Point an alias at a version."""
    mlflow_client().set_registered_model_alias(name, alias, version)
