"""What the stages read and write, as data sets of OpenLineage.

A name is the same on every machine and in every stage, so that the data sets of one stage's events join those
of the next: the shards are called after the hash of their manifest, checkpoints after the run that trained
them, and models as MLflow calls them. No data set names a video or a person.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.download.credentials import mask_credentials
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.storage.files import file_sha256

_DIGEST_CHARS = 12
_MODEL_SCHEME = "models:/"


@dataclass(frozen=True)
class DataSet:
    """One data set that a stage reads or writes."""

    name: str
    place: str
    """URI of where this machine reads or writes it, without credentials."""
    version: str | None = None
    """Changes with the content; None if the name does."""
    num_files: int | None = None
    num_rows: int | None = None
    """Clips."""
    num_bytes: int | None = None


@dataclass(frozen=True)
class StageData:
    """Finds the data sets of a stage of a project."""

    params: Params
    environment: Environment
    run_id: str | None = None
    """Run whose model is released; None for that of checkpoints/final."""

    @property
    def _paths(self) -> ProjectPaths:
        return self.environment.paths

    def inputs(self, stage: str) -> list[DataSet]:
        """Return what the stage reads, as far as it is there."""
        lists = [self._listed(self.params.download.sources), self._listed(Path("data/tombstones.csv"))]
        parts: dict[str, list[Callable[[], DataSet]]] = {
            "download": lists,
            "shards": [self._raw],
            "train": [self._shards, *self._parents()],
            "evaluate": [self._shards, self._checkpoint],
            "release": [self._shards, self._checkpoint],
        }
        return list(_present(parts[stage]))

    def outputs(self, stage: str, model_uri: str | None = None) -> list[DataSet]:
        """Return what the stage has written, as far as it is there.

        Args:
            stage: its name.
            model_uri: URI of the version that the stage registered, if it did.
        """
        parts: dict[str, list[Callable[[], DataSet]]] = {
            "download": [self._raw],
            "shards": [self._shards],
            "train": [self._checkpoint],
            "evaluate": [self._listed(Path("metrics/evaluate.json"))],
            "release": [] if model_uri is None else [lambda: self._model(model_uri)],
        }
        return list(_present(parts[stage]))

    def _listed(self, file: Path) -> Callable[[], DataSet]:
        path = self._paths.root / file
        return lambda: DataSet(str(file), path.as_uri(), file_sha256(path))

    def _raw(self) -> DataSet:
        # The ledger holds the hash of each video.
        return DataSet("data/raw", self._place(self._paths.raw), file_sha256(self._paths.source_ledger))

    def _shards(self) -> DataSet:
        manifest = read_manifest(self._paths.shards)
        tars = [*manifest.splits.train.tars, *manifest.splits.test.tars]
        return DataSet(
            f"data/shards/{data_digest(manifest)}",
            self._place(self._paths.shards),
            num_files=len(tars),
            num_rows=sum(tar.num_clips for tar in tars),
            num_bytes=sum(tar.bytes for tar in tars),
        )

    def _place(self, folder: Path) -> str:
        store = self.environment.store_url
        return folder.as_uri() if store is None else f"{store.rstrip('/')}/{folder.name}"

    def _checkpoint(self) -> DataSet:
        from pipelines.stages.release import find_checkpoint

        final = self._paths.checkpoints / "final"
        return _checkpoint_in(find_checkpoint(final, self._paths.runs, self.run_id))

    def _parents(self) -> list[Callable[[], DataSet]]:
        """Return the model that the training starts from, which was trained on data of its own."""
        uri = self.params.train.init_from
        if uri is None:
            return []
        if uri.startswith(_MODEL_SCHEME):
            return [lambda: self._registered(uri)]
        return [lambda: _checkpoint_in(self._paths.root / uri)]

    def _registered(self, uri: str) -> DataSet:
        from lia_model.registry.models import registry_errors
        from lia_model.registry.versions import version_at

        try:
            return self._model(version_at(uri).uri)
        except registry_errors():
            # Without the version that the alias names.
            return self._model(uri)

    def _model(self, uri: str) -> DataSet:
        return DataSet(uri, mask_credentials(self.environment.mlflow_tracking_uri))


def _checkpoint_in(directory: Path) -> DataSet:
    # Inside, so that a download does not load torch.
    from lia_model.checkpoints.directory import GENERATOR, read_config

    run_name = read_config(directory).provenance.get("run_name")
    name = run_name or file_sha256(directory / GENERATOR)[:_DIGEST_CHARS]
    return DataSet(f"checkpoints/{name}", directory.as_uri())


def _present(parts: list[Callable[[], DataSet]]) -> Iterator[DataSet]:
    """Yield the data sets that are there; the stage itself says what it lacks."""
    for part in parts:
        with suppress(OSError, ValueError):
            yield part()
