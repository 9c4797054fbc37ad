"""Registered models in MLflow: registering a checkpoint, and resolving a model URI to a directory.

MLflow is imported inside the functions, so that loading a checkpoint directory needs torch alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from lia_model.registry.aliases import CHALLENGER, CHAMPION, version_of
from lia_model.registry.fetched import fetch_once
from lia_model.registry.outages import is_missing
from lia_model.registry.runs import mlflow_client

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

# What a registered version needs beside its own code, at the versions of the installation that registers it.
SERVED_PACKAGES = ("jaxtyping", "mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")

WEIGHTS_TAG = "lia.weights_sha256"
"""Tag of a version: hash of its generator's file."""
VERDICT_PREFIXES = ("lia.gate", "lia.worse_than_copying")
"""Beginnings of the tags that a release sets."""


@dataclass(frozen=True)
class ResolvedModel:
    """The files behind a model URI."""

    directory: Path
    """Checkpoint directory on this machine; of a version that a server keeps, a copy that ends with this
    process."""
    name: str
    """Registered name, or the directory's."""
    version: str | None
    """Registered version, or None for a directory."""

    @property
    def uri(self) -> str:
        """Return the URI of a registered version, or the directory's name."""
        return self.name if self.version is None else f"models:/{self.name}/{self.version}"


def resolve(uri: str | Path) -> ResolvedModel:
    """Find the checkpoint directory behind a model URI; an alias is resolved to its present version.

    Of a version that a server keeps, the files are fetched once by a process, and removed when it ends.

    Raises:
        ValueError: the URI names neither a directory nor a registered model.
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


def _resolve_registered(uri: str) -> ResolvedModel:
    from mlflow import MlflowException

    name, version = parse_model_uri(uri)
    if not version.isdigit():
        found = version_of(name, version)
        if found is None:
            raise ValueError(_missing_alias(name, version))
        version = found
    root = f"models:/{name}/{version}"
    try:
        folder = _fetch(root, _checkpoint_in(root))
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise ValueError(
            f"{uri} cannot be read ({error.message.splitlines()[0]}): name a registered version"
        ) from None
    return ResolvedModel(folder, name, version)


def fetch_checkpoint(uri: str, folder: Path) -> Path:
    """Copy the checkpoint directory of a version, `models:/NAME/VERSION`, into a folder and return the copy.

    Raises:
        ValueError: the version holds none.
    """
    from mlflow import artifacts

    return Path(artifacts.download_artifacts(f"{uri}/{_checkpoint_in(uri)}", dst_path=str(folder)))


def _fetch(root: str, directory: str) -> Path:
    """Return where a directory of a version is on this machine, or a copy of it."""
    from mlflow import artifacts

    # Alone: a version's code is hundreds of files, each of them a request to a server.
    uri = f"{root}/{directory}"
    location = mlflow_client().get_model_version_download_uri(*parse_model_uri(root))
    if urlsplit(location).scheme in ("", "file"):
        return Path(artifacts.download_artifacts(uri))
    return fetch_once(
        f"{location}/{directory}", lambda folder: artifacts.download_artifacts(uri, dst_path=str(folder))
    )


def _checkpoint_in(root: str) -> str:
    """Return the path of the checkpoint directory among a version's files.

    Raises:
        ValueError: the version holds none.
    """
    from mlflow import artifacts

    present = {entry.path for entry in artifacts.list_artifacts(root)}
    # Earlier installations registered it as an artifact; MLflow keeps the name of the folder in both.
    for folder in ("data", "artifacts"):
        if folder in present:
            (directory,) = artifacts.list_artifacts(f"{root}/{folder}")
            return directory.path
    raise ValueError(f"{root} holds no checkpoint directory: name a version that `lia release` registered")


def _missing_alias(name: str, alias: str) -> str:
    challenger = version_of(name, CHALLENGER)
    if alias != CHAMPION or challenger is None:
        return f"no model {name!r} has the alias {alias!r}: register one with `lia release`"
    reason = version_tag(name, challenger, "lia.gate_reason") or "not judged yet"
    return (
        f"no version of {name!r} is {CHAMPION}; version {challenger} is {CHALLENGER} ({reason}): to use it "
        f"all the same, name models:/{name}@{CHALLENGER}"
    )


def parse_model_uri(uri: str) -> tuple[str, str]:
    """Split `models:/NAME@ALIAS` or `models:/NAME/VERSION` into the name and the alias or version.

    Raises:
        ValueError: the URI has neither form.
    """
    name, _, version = uri.removeprefix("models:/").partition("@" if "@" in uri else "/")
    if not name or not version:
        raise ValueError(f"got model URI {uri!r}; allowed are models:/NAME@ALIAS and models:/NAME/VERSION")
    return name, version


def alias_in(uri: str) -> str | None:
    """Return the alias that a model URI names; None if it names a version or a directory."""
    if not uri.startswith("models:/"):
        return None
    _, version = parse_model_uri(uri)
    return None if version.isdigit() else version


def register(name: str, checkpoint: Path, run_id: str, tags: Mapping[str, str]) -> str:
    """Log a checkpoint directory as a model of its run, register it and return the new version.

    The version carries its code and the exact versions of the packages it needs, so that it loads from any
    folder; its weights stay safetensors.
    """
    from importlib.metadata import version

    import mlflow

    import lia_model
    import preprocessing

    packages = [Path(str(package.__file__)).parent for package in (lia_model, preprocessing)]
    requirements = [f"{name}=={version(name).split('+')[0]}" for name in SERVED_PACKAGES]
    # `log_model` logs to MLflow's active run, which is closed again so that later calls do not log to it.
    mlflow.start_run(run_id=run_id)
    try:
        info = mlflow.pyfunc.log_model(
            name=name,
            loader_module="lia_model.pyfunc",
            data_path=str(checkpoint),
            code_paths=[str(package) for package in packages],
            pip_requirements=requirements,
            signature=_signature(),
            input_example=_input_example(),
        )
    finally:
        mlflow.end_run()
    client = mlflow_client()
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    entry = client.create_model_version(
        name, info.model_uri, run_id=run_id, tags=dict(tags), model_id=info.model_id
    )
    return str(entry.version)


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    pixels = np.dtype(np.uint8)
    return ModelSignature(
        inputs=Schema(
            [
                TensorSpec(pixels, (1, -1, -1, 3), name="source"),
                TensorSpec(pixels, (-1, -1, -1, 3), name="driving"),
            ]
        ),
        outputs=Schema([TensorSpec(pixels, (-1, -1, -1, 3))]),
        params=ParamSchema([ParamSpec("mode", DataType.string, "relative")]),
    )


def _input_example() -> dict[str, np.ndarray]:
    return {name: np.zeros((1, 8, 8, 3), np.uint8) for name in ("source", "driving")}


def version_of_run(name: str, run_id: str, weights_sha256: str | None = None) -> str | None:
    """Return the newest version registered from a run, or None.

    A run that is continued gives other weights: with `weights_sha256`, versions with others are ignored.
    Versions that earlier installations registered do not record their hash.
    """
    found = mlflow_client().search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if weights_sha256 is not None:
        found = [one for one in found if one.tags.get(WEIGHTS_TAG, weights_sha256) == weights_sha256]
    return str(max(int(entry.version) for entry in found)) if found else None


def tag_version(name: str, version: str, tags: Mapping[str, str], tracking_uri: str | None = None) -> None:
    """Set tags of a registered version."""
    client = mlflow_client(tracking_uri)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def record_verdict(name: str, version: str, tags: Mapping[str, str], description: str) -> None:
    """Set the tags and the description of a version, and remove the tags of an earlier verdict."""
    client = mlflow_client()
    for key in client.get_model_version(name, version).tags:
        if key.startswith(VERDICT_PREFIXES) and key not in tags:
            client.delete_model_version_tag(name, version, key)
    tag_version(name, version, tags)
    client.update_model_version(name, version, description)


def version_tag(name: str, version: str, key: str) -> str | None:
    """Return a tag of a registered version, or None."""
    return mlflow_client().get_model_version(name, version).tags.get(key)


def version_tags(name: str, version: str, tracking_uri: str | None = None) -> dict[str, str]:
    """Return the tags of a registered version."""
    return dict(mlflow_client(tracking_uri).get_model_version(name, version).tags)


def registry_errors() -> tuple[type[Exception], ...]:
    """Return what these functions raise where the registry does not answer or has no such version."""
    from mlflow import MlflowException

    return MlflowException, OSError
