"""What a model was made of: commit, data, settings, measured values, and the run it started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lia_model.checkpoints.directory import read_config
from lia_model.registry.models import resolve
from lia_model.registry.runs import PARENT_TAG, Run, is_known, mlflow_client, run_of
from lia_model.registry.versions import Version, version_at, versions_of_run

COMMIT_TAG = "lia.commit"
LIST_TAG = "lia.gate_list"
MEASURED = ("evaluate/", "validation/")
"""Beginnings of the metrics that say how good a model is."""


@dataclass(frozen=True)
class Origin:
    """What a model was made of; None and empty values are not recorded."""

    uri: str
    """What was asked for: a version's own URI, or a checkpoint's folder."""
    version: Version | None
    """None for a checkpoint directory."""
    run_id: str | None
    """MLflow's id of the run, if this store has it."""
    run_name: str | None = None
    commit: str | None = None
    """Of the code that trained it."""
    data_digest: str | None = None
    """MD5 of the manifest of the shards."""
    evaluation_list_sha256: str | None = None
    """Of the frozen list of pairs on which the gate judged it."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Settings of the training, under dotted names."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest values of evaluation and validation."""
    source_keys: tuple[str, ...] = ()
    """Videos it was trained on, those of the model it started from included."""
    parent: Origin | None = None
    """What it was started from, by `train.init_from`."""


def origin_of(uri: str) -> Origin:
    """Return the origin of the model at a URI.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or a checkpoint directory.

    Raises:
        ValueError: there is no such model.
    """
    if uri.startswith("models:/"):
        version = version_at(uri)
        return _of_run(version.uri, version, version.run_id, version.tags)
    directory = resolve(uri).directory
    provenance = read_config(directory).provenance
    return _of_run(str(directory), None, run_of(provenance), _as_tags(provenance))


def _as_tags(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what a checkpoint records of itself, under the tags of a version."""
    return {f"lia.{name}": str(provenance[name]) for name in ("commit", "data_digest") if name in provenance}


def _of_run(uri: str, version: Version | None, run_id: str | None, recorded: Mapping[str, str]) -> Origin:
    commit, digest = recorded.get(COMMIT_TAG), recorded.get("lia.data_digest")
    listed = recorded.get(LIST_TAG)
    if run_id is None or not is_known(run_id):
        return Origin(uri, version, None, None, commit, digest, listed)
    run = mlflow_client().get_run(run_id)
    data_sets = [given.dataset.digest for given in run.inputs.dataset_inputs] if run.inputs else []
    return Origin(
        uri=uri,
        version=version,
        run_id=run_id,
        run_name=run.info.run_name,
        commit=commit or run.data.tags.get(COMMIT_TAG),
        data_digest=digest or next(iter(data_sets), None),
        evaluation_list_sha256=listed,
        params=dict(run.data.params),
        metrics={
            name: value for name, value in sorted(run.data.metrics.items()) if name.startswith(MEASURED)
        },
        source_keys=tuple(sorted(Run(run_id).source_keys())),
        parent=_parent(run.data.tags.get(PARENT_TAG)),
    )


def _parent(run_id: str | None) -> Origin | None:
    if run_id is None:
        return None
    versions = versions_of_run(run_id) if is_known(run_id) else []
    version = versions[-1] if versions else None
    uri = f"runs:/{run_id}" if version is None else version.uri
    return _of_run(uri, version, run_id, {} if version is None else version.tags)
