"""Training runs in MLflow: parameters, metrics, pictures, and the videos a model was trained on.

MLflow is imported inside the functions, so that loading a checkpoint directory needs torch alone. The store
is the one that MLFLOW_TRACKING_URI names, or the one handed in.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lia_model.registry.locations import EXPERIMENT
from lia_model.registry.outages import is_missing
from preprocessing.settings import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

SOURCE_KEYS = "data/source_keys.txt"
VALIDATED_SOURCE_KEYS = "data/validated_source_keys.txt"
"""Artifact of a run: the held-out videos that its validation pictures show."""
DAMAGED_FRAMES = "data/damaged_frames.json"
PARENT_TAG = "lia.parent_run_id"
"""Tag of a run: id of the run whose checkpoint it started from, by `train.init_from`."""
STRIPS = "images"
"""Folder of a run in which MLflow keeps what `Run.log_image` logs."""
EVALUATION = "evaluate"
"""Folder of a run with its evaluation's page and pictures; a picture's name holds the keys of its clips."""
EVALUATION_PICTURES = f"{EVALUATION}/pictures"
CARDS = "card"
"""Folder of a run with the cards of its versions; their pages show the pictures of its evaluation."""
GOLDEN = "golden"
"""Folder of a run with the golden pairs of its versions; a file's name holds the keys of its clips."""
MAX_PARAM_CHARS = 6000
MAX_BATCH = 1000
"""Most metrics of one request."""
MAX_PARAMS = 100
"""Most params of one request."""


def mlflow_client(tracking_uri: str | None = None) -> MlflowClient:
    """Return a client of the given store, or of the one in MLFLOW_TRACKING_URI."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri)


@dataclass(frozen=True)
class Logged:
    """What a run holds: names with steps."""

    metrics: Collection[tuple[str, int]] = ()
    pictures: Collection[tuple[str, int]] = ()


class Run:
    """One MLflow run, addressed by its id, so that the driver and rank 0 log to the same one."""

    def __init__(self, run_id: str, tracking_uri: str | None = None) -> None:
        self.run_id = run_id
        self._client = mlflow_client(tracking_uri)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log finite numbers at a training step."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log settings under dotted names.

        MLflow rejects a change of a param that is already logged: the new value becomes a tag.
        """
        from mlflow.entities import Param

        logged = self._client.get_run(self.run_id).data.params
        given = {name: str(value)[:MAX_PARAM_CHARS] for name, value in flatten(values).items()}
        new = [Param(name, value) for name, value in given.items() if name not in logged]
        for group in (new[at : at + MAX_PARAMS] for at in range(0, len(new), MAX_PARAMS)):
            self._client.log_batch(self.run_id, params=group)
        self.set_tags(
            {f"lia.now.{name}": value for name, value in given.items() if logged.get(name, value) != value}
        )

    def log_image(self, name: str, step: int, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Log an RGB picture, which MLflow shows on its step slider."""
        self._client.log_image(self.run_id, image, key=name, step=step)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into a folder of the run's artifacts; None is their root."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def log_entries(self, entries: Sequence[Mapping[str, Any]], folder: Path, logged: Logged) -> None:
        """Log lines of a run's journal, except those `logged`; see `lia_model.registry.run_journal`.

        Args:
            entries: lines with metrics, a picture or a text.
            folder: of the journal, which its pictures are relative to.
            logged: what the run had before.
        """
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, entry["time_ms"], entry["step"])
            for entry in entries
            for name, value in entry.get("metrics", {}).items()
            if (name, entry["step"]) not in logged.metrics
        ]
        for group in (metrics[at : at + MAX_BATCH] for at in range(0, len(metrics), MAX_BATCH)):
            self._client.log_batch(self.run_id, metrics=group)
        for entry in entries:
            if "picture" in entry:
                path = folder / entry["file"]
                if path.is_file() and (entry["picture"], entry["step"]) not in logged.pictures:
                    self._log_picture(entry, path)
                # MLflow has it; `lia forget` need not look for a second copy.
                path.unlink(missing_ok=True)
            if "text" in entry:
                self._client.log_text(self.run_id, entry["content"], entry["text"])

    def _log_picture(self, entry: Mapping[str, Any], path: Path) -> None:
        """Log a picture as MLflow's `log_image` does, but under a name that a repetition has too."""
        from mlflow.tracking.multimedia import compress_image_size
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
        from PIL import Image

        step, time_ms = entry["step"], entry["time_ms"]
        mark = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run_id} {entry['picture']} {step}")
        name = f"{entry['picture']}+step+{step}+timestamp+{time_ms}+{mark}"
        with tempfile.TemporaryDirectory() as temporary, Image.open(path) as picture:
            picture.save(Path(temporary) / f"{name}.png")
            compress_image_size(picture).save(Path(temporary) / f"{name}+compressed.webp")
            self._client.log_artifacts(self.run_id, temporary, STRIPS)
        self._client.set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, True)

    def logged(self) -> Logged:
        """Return which metrics and pictures of which steps the run has."""
        metrics = {(name, step) for name in self.metric_names() for step, _ in self.metric_history(name)}
        names = (Path(path).name.split("+") for path in self.file_names(STRIPS))
        return Logged(metrics, {(name[0], int(name[2])) for name in names if name[1:2] == ["step"]})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, replacing older values."""
        for name, value in tags.items():
            self._client.set_tag(self.run_id, name, value)

    def finish(self, status: str = "FINISHED") -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)

    def set_status(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED, or open it again as RUNNING."""
        if status == "RUNNING":
            self._client.update_run(self.run_id, status=status)
        else:
            self.finish(status)

    def log_source_keys(self, keys: Collection[str]) -> None:
        """Log which videos the model was trained on, by their source keys."""
        self._client.log_text(self.run_id, "".join(f"{key}\n" for key in sorted(keys)), SOURCE_KEYS)

    def source_keys(self) -> set[str]:
        """Return the keys of the videos the model was trained on; empty if none were logged."""
        return self._keys(SOURCE_KEYS)

    def validated_source_keys(self) -> set[str]:
        """Return the keys of the held-out videos that validation pictures show; empty if there are none."""
        return self._keys(VALIDATED_SOURCE_KEYS)

    def _keys(self, path: str) -> set[str]:
        from mlflow import MlflowException, artifacts

        try:
            if path not in self.file_names(path.rpartition("/")[0]):
                return set()
        except MlflowException as error:
            # A checkpoint may come from another project, whose runs are not in this store.
            if is_missing(error):
                return set()
            raise
        return set(artifacts.load_text(f"runs:/{self.run_id}/{path}").split())

    def file_names(self, folder: str) -> list[str]:
        """Return the paths of the files and folders in a folder of the run's artifacts."""
        return [str(entry.path) for entry in self._client.list_artifacts(self.run_id, folder)]

    def fetch_file(self, path: str, folder: Path) -> Path:
        """Copy a file of the run's artifacts into a folder and return the copy.

        Raises:
            ValueError: the run has no such file.
        """
        from mlflow import artifacts

        if path not in self.file_names(path.rpartition("/")[0]):
            raise ValueError(f"run {self.run_id} has no file {path} in MLflow")
        return Path(artifacts.download_artifacts(f"runs:/{self.run_id}/{path}", dst_path=str(folder)))

    def delete_files(self, paths: Sequence[str]) -> None:
        """Delete files or folders of the run's artifacts."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(f"runs:/{self.run_id}")
        for path in paths:
            repository.delete_artifacts(path)

    def metric_history(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) ordered by step; a step logged twice appears once, with its last value."""
        history = self._client.get_metric_history(self.run_id, name)
        return sorted({metric.step: metric.value for metric in history}.items())

    def metric_names(self) -> list[str]:
        """Return the names of all metrics of the run."""
        return sorted(self._client.get_run(self.run_id).data.metrics)


def open_run(
    name: str, artifacts: Path, params: Mapping[str, Any], tags: Mapping[str, str], description: str = ""
) -> Run:
    """Return the run called `name`: reopened if an earlier process created it, else new.

    Args:
        name: the run's name, unique within the experiment.
        artifacts: absolute folder of the experiment's files; takes effect when the experiment is created. A
            server decides itself.
        params: settings, logged once.
        tags: logged on every call.
        description: Markdown for a new run; one that is reopened keeps its own, which people may edit.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    client = mlflow_client()
    experiment_id = _experiment_id(client, artifacts)
    found = find_run(name)
    note = {MLFLOW_RUN_NOTE: description} if description else {}
    run = Run(found or client.create_run(experiment_id, run_name=name, tags=note).info.run_id)
    if found:
        run.set_status("RUNNING")
    run.log_params(params)
    run.set_tags(tags)
    return run


def find_run(name: str) -> str | None:
    """Return the id of the run called `name`, or None."""
    client = mlflow_client()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    found = client.search_runs(
        [experiment.experiment_id], filter_string=f"attributes.run_name = '{name}'", max_results=1
    )
    return found[0].info.run_id if found else None


def run_of(provenance: Mapping[str, Any]) -> str | None:
    """Return the id of the run that trained a checkpoint, or None if this store has none.

    Args:
        provenance: of the checkpoint; its `run_id` is None if MLflow could not be reached while it trained.
    """
    run_id, name = provenance.get("run_id"), provenance.get("run_name")
    if run_id is not None and is_known(run_id):
        return run_id
    return find_run(name) if name else None


def _experiment_id(client: MlflowClient, artifacts: Path) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return experiment.experiment_id
    # A server keeps the files where it was told to; beside a store on this disk they lie where we say.
    is_server = client.tracking_uri.startswith(("http:", "https:"))
    # What the experiment is for, in MLflow's words. Its UI opens on traces of language models all the same,
    # unless the address asks for `workflowType=machine_learning`.
    return client.create_experiment(
        EXPERIMENT,
        artifact_location=None if is_server else artifacts.absolute().as_uri(),
        tags={"mlflow.experimentKind": "custom_model_development"},
    )


def is_known(run_id: str) -> bool:
    """Return whether the store holds a run."""
    from mlflow import MlflowException

    try:
        mlflow_client().get_run(run_id)
    except MlflowException as error:
        if is_missing(error):
            return False
        raise
    return True


def all_runs() -> Iterator[tuple[str, str]]:
    """Yield the id and the name of every run of the experiment."""
    client = mlflow_client()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    token = None
    while experiment is not None:
        page = client.search_runs([experiment.experiment_id], page_token=token)
        yield from ((run.info.run_id, str(run.info.run_name)) for run in page)
        token = page.token
        if not token:
            return


def log_dataset(run: Run, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
    """Record the data set that a run was trained on.

    Args:
        run: the run.
        name: the data set's name.
        digest: hash of the data, at most 36 characters (a limit of MLflow's).
        source: path of the data within the project.
        profile: counts of what the data set holds.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=name,
        digest=digest,
        source_type="local",
        source=json.dumps({"uri": source}),
        profile=json.dumps(dict(profile)),
    )
    inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    mlflow_client().log_inputs(run.run_id, inputs)
