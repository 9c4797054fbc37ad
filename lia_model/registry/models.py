"""The door to MLflow: runs, metrics, registered models, their aliases, and model URIs → directories.

MLflow is imported inside the functions, so that loading a checkpoint directory needs torch alone. The store
is the one that MLFLOW_TRACKING_URI names, or the one handed in.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "lia"
CHAMPION = "champion"
CHALLENGER = "challenger"
REPLACED_TAG = "lia.replaced"
SOURCE_KEYS = "data/source_keys.txt"
STRIPS = "images"
"""Where MLflow puts what `Run.log_image` logs."""
EVALUATION = "evaluate"
"""Folder of the evaluation's page; in its `pictures`, names hold the keys of the clips they show."""
MAX_PARAM_CHARS = 6000
# What a registered version needs beside its own code; the versions are those of the installation that logs
# it.
SERVED_PACKAGES = ("jaxtyping", "mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")


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


def _resolve_registered(uri: str) -> ResolvedModel:
    from mlflow import MlflowException, artifacts

    name, version = parse_model_uri(uri)
    if not version.isdigit():
        found = version_of(name, version)
        if found is None:
            raise ValueError(f"no model {name!r} has the alias {version!r}: register one with `lia release`")
        version = found
    try:
        folder = Path(artifacts.download_artifacts(f"models:/{name}/{version}"))
    except MlflowException as error:
        raise ValueError(
            f"{uri} cannot be read ({error.message.splitlines()[0]}): name a registered version"
        ) from None
    # MLflow keeps the checkpoint's own folder name.
    (directory,) = (folder / "artifacts").iterdir()
    return ResolvedModel(directory, name, version)


def parse_model_uri(uri: str) -> tuple[str, str]:
    """Split `models:/NAME@ALIAS` or `models:/NAME/VERSION` into the name and the alias or version.

    Raises:
        ValueError: it is of neither form.
    """
    name, _, version = uri.removeprefix("models:/").partition("@" if "@" in uri else "/")
    if not name or not version:
        raise ValueError(f"got model URI {uri!r}; allowed are models:/NAME@ALIAS and models:/NAME/VERSION")
    return name, version


def client(tracking_uri: str | None = None) -> MlflowClient:
    """Return a client of the given store, or of the one in MLFLOW_TRACKING_URI."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri)


class Run:
    """One MLflow run, written by id, so that driver and rank 0 log to the same one."""

    def __init__(self, run_id: str, tracking_uri: str | None = None) -> None:
        self.run_id = run_id
        self._client = client(tracking_uri)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log finite numbers at a training step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            self.run_id, metrics=[Metric(k, float(v), now, step) for k, v in values.items()]
        )

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log settings; MLflow refuses to change one that is already there."""
        from mlflow.entities import Param

        flat = [Param(name, str(value)[:MAX_PARAM_CHARS]) for name, value in flatten(values).items()]
        self._client.log_batch(self.run_id, params=flat)

    def log_image(self, name: str, step: int, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Log an RGB picture that MLflow shows along its step slider."""
        self._client.log_image(self.run_id, image, key=name, step=step)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into the run."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, over older values."""
        for name, value in tags.items():
            self._client.set_tag(self.run_id, name, value)

    def finish(self, status: str = "FINISHED") -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)

    def log_source_keys(self, keys: Collection[str]) -> None:
        """Log which videos the model has seen, by the sha1 of their addresses."""
        self._client.log_text(self.run_id, "".join(f"{key}\n" for key in sorted(keys)), SOURCE_KEYS)

    def source_keys(self) -> set[str]:
        """Return which videos the model has seen; empty where the run does not say."""
        from mlflow import MlflowException, artifacts

        try:
            if SOURCE_KEYS not in self.file_names(SOURCE_KEYS.rpartition("/")[0]):
                return set()
        except MlflowException:
            # A checkpoint may come from another project, whose runs are not in this store.
            return set()
        return set(artifacts.load_text(f"runs:/{self.run_id}/{SOURCE_KEYS}").split())

    def file_names(self, folder: str) -> list[str]:
        """Return the paths of the files and folders in a folder of the run."""
        return [str(entry.path) for entry in self._client.list_artifacts(self.run_id, folder)]

    def delete_files(self, paths: Sequence[str]) -> None:
        """Delete files or folders of the run."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(f"runs:/{self.run_id}")
        for path in paths:
            repository.delete_artifacts(path)

    def metric_history(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) in order of steps; a step logged twice counts once, by its last value."""
        history = self._client.get_metric_history(self.run_id, name)
        return sorted({metric.step: metric.value for metric in history}.items())

    def metric_names(self) -> list[str]:
        """Return the names of all metrics of the run."""
        return sorted(self._client.get_run(self.run_id).data.metrics)


@dataclass(frozen=True)
class TrainedRun:
    """A training and what was registered of it."""

    run_id: str
    """MLflow's id."""
    name: str
    """The run's name."""
    versions: list[str]
    """Registered versions, such as `lia 3 (champion)`."""

    def __str__(self) -> str:
        return f"run {self.name} ({', '.join(self.versions) or 'not registered'})"


def runs_trained_on(source_keys: Collection[str]) -> list[TrainedRun]:
    """Return the runs whose model, or the one it was trained from, has seen one of the videos."""
    found = [
        (run_id, name)
        for run_id, name in _all_runs()
        if not Run(run_id).source_keys().isdisjoint(source_keys)
    ]
    return [TrainedRun(run_id, name, _versions_of(run_id)) for run_id, name in found]


def pictures_of(source_keys: Collection[str], trained: Sequence[TrainedRun]) -> dict[str, list[str]]:
    """Return the artifacts, by run id, that show one of the videos.

    Sample strips do not say whom they show: those of every run that was trained on a video count.
    """
    saw = {run.run_id for run in trained}
    pictures: dict[str, list[str]] = {}
    for run_id, _ in _all_runs():
        run = Run(run_id)
        shown = [
            path
            for path in run.file_names(f"{EVALUATION}/pictures")
            if any(key in path for key in source_keys)
        ]
        if shown:
            shown += [path for path in run.file_names(EVALUATION) if path.endswith(".html")]
        if run_id in saw:
            shown += [path for path in run.file_names("") if path == STRIPS]
        if shown:
            pictures[run_id] = shown
    return pictures


def _all_runs() -> Iterator[tuple[str, str]]:
    """Yield id and name of every run of the experiment."""
    store = client()
    experiment = store.get_experiment_by_name(EXPERIMENT)
    token = None
    while experiment is not None:
        page = store.search_runs([experiment.experiment_id], page_token=token)
        yield from ((run.info.run_id, str(run.info.run_name)) for run in page)
        token = page.token
        if not token:
            return


def _versions_of(run_id: str) -> list[str]:
    store = client()
    told = []
    for entry in store.search_model_versions(f"run_id = '{run_id}'"):
        aliases = store.get_registered_model(entry.name).aliases
        own = sorted(alias for alias, version in aliases.items() if str(version) == str(entry.version))
        told.append(f"{entry.name} {entry.version}" + (f" ({', '.join(own)})" if own else ""))
    return sorted(told)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def open_run(name: str, artifacts: Path, params: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
    """Return the run called `name`, reopened where an earlier process left it, else new.

    Args:
        name: the run's name, unique within the experiment.
        artifacts: absolute folder of the experiment's files; decided when the experiment is first made.
        params: settings, logged once.
        tags: logged anew each time.
    """
    store = client()
    experiment = _experiment_id(store, artifacts)
    found = store.search_runs([experiment], filter_string=f"attributes.run_name = '{name}'", max_results=1)
    run_id = found[0].info.run_id if found else store.create_run(experiment, run_name=name).info.run_id
    run = Run(run_id)
    if found:
        store.update_run(run_id, status="RUNNING")
    run.log_params(params)
    run.set_tags(tags)
    return run


def _experiment_id(store: MlflowClient, artifacts: Path) -> str:
    experiment = store.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return experiment.experiment_id
    # The tag lets the UI open on training runs; without it MLflow 3 guesses at traces of a language model.
    return store.create_experiment(
        EXPERIMENT,
        artifact_location=artifacts.absolute().as_uri(),
        tags={"mlflow.experimentKind": "custom_model_development"},
    )


def log_dataset(run: Run, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
    """Name the data set that a run was trained on.

    Args:
        run: the run.
        name: the data set's name.
        digest: at most 36 characters.
        source: where it lies.
        profile: counts.
    """
    import json

    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=name,
        digest=digest,
        source_type="local",
        source=json.dumps({"uri": source}),
        profile=json.dumps(dict(profile)),
    )
    client().log_inputs(run.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def register(name: str, checkpoint: Path, run_id: str, tags: Mapping[str, str]) -> str:
    """Log a checkpoint directory as a model of its run, register it and return the new version.

    The model carries its code and the exact versions of what it needs, so that it loads from any folder; its
    weights stay safetensors.
    """
    from importlib.metadata import version

    import mlflow

    import lia_model
    import preprocessing

    packages = [Path(str(package.__file__)).parent for package in (lia_model, preprocessing)]
    requirements = [f"{name}=={version(name).split('+')[0]}" for name in SERVED_PACKAGES]
    # `log_model` takes the run from MLflow's own state; leaving it there would end up in other calls.
    mlflow.start_run(run_id=run_id)
    try:
        with warnings.catch_warnings():
            # The signature below says more than the type hints that MLflow would like to see instead.
            warnings.filterwarnings("ignore", message=".*type hints", category=UserWarning)
            info = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(packages[0] / "pyfunc.py"),
                artifacts={"checkpoint": str(checkpoint)},
                code_paths=[str(package) for package in packages],
                pip_requirements=requirements,
                signature=_signature(),
                input_example=_input_example(),
            )
    finally:
        mlflow.end_run()
    store = client()
    if not store.search_registered_models(filter_string=f"name = '{name}'"):
        store.create_registered_model(name)
    entry = store.create_model_version(
        name, info.model_uri, run_id=run_id, tags=dict(tags), model_id=info.model_id
    )
    return str(entry.version)


def _signature() -> Any:  # noqa: ANN401 - MLflow's class, not to be imported at the top
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


def version_of(name: str, alias: str) -> str | None:
    """Return the version that bears an alias, or None where no version does."""
    from mlflow import MlflowException

    try:
        return str(client().get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None


def version_of_run(name: str, run_id: str) -> str | None:
    """Return the newest version registered from a run, or None."""
    found = client().search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return str(max(int(entry.version) for entry in found)) if found else None


def set_alias(name: str, alias: str, version: str) -> None:
    """Point an alias at a version."""
    client().set_registered_model_alias(name, alias, version)


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a registered version."""
    store = client()
    for key, value in tags.items():
        store.set_model_version_tag(name, version, key, value)


def version_tag(name: str, version: str, key: str) -> str | None:
    """Return a tag of a registered version, or None."""
    return client().get_model_version(name, version).tags.get(key)
