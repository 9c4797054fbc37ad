"""The names that users give to motion directions, kept with the model version they were given for.

A registered version keeps them as tags in MLflow; of a checkpoint folder they are a JSON file of the service,
named by the weights, so that another model in the same folder does not inherit them.
"""

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from lia_model.checkpoints.directory import GENERATOR
from lia_model.registry.models import registry_errors, tag_version, version_tags
from lia_model.registry.outages import reason_of
from lia_model.serving.messages import ModelVersion
from preprocessing.storage.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)

TAG = "lia.direction."
"""Beginning of the tags; the direction's number follows, from 1."""
TIMEOUT_S = 5.0
"""How long MLflow may take; its own client retries for minutes."""
Result = TypeVar("Result")


class NamesUnavailableError(Exception):
    """The names cannot be read or stored now."""


@runtime_checkable
class DirectionNames(Protocol):
    """Names by direction, counted from 1; a direction without a name is missing."""

    def read(self) -> dict[int, str]:
        """Return the names.

        Raises:
            NamesUnavailableError: they cannot be read.
        """
        ...

    def set(self, number: int, name: str) -> None:
        """Name a direction; an empty name removes it.

        Raises:
            NamesUnavailableError: it cannot be stored.
        """
        ...


class NamesInRegistry:
    """Names in the tags of a registered model version.

    Args:
        model: the version.
        tracking_uri: MLflow's store.
    """

    def __init__(self, model: ModelVersion, tracking_uri: str) -> None:
        self._model = model
        self._tracking_uri = tracking_uri
        self._calls = ThreadPoolExecutor(max_workers=2, thread_name_prefix="direction names")

    def read(self) -> dict[int, str]:
        """Return the names.

        Raises:
            NamesUnavailableError: MLflow does not answer, or not in time.
        """
        tags = self._call(lambda: version_tags(self._model.name, self._model.version, self._tracking_uri))
        return names_in_tags(tags)

    def set(self, number: int, name: str) -> None:
        """Name a direction; an empty name removes it.

        Raises:
            NamesUnavailableError: MLflow does not answer, or not in time.
        """
        tag = {f"{TAG}{number:02d}": name}
        self._call(lambda: tag_version(self._model.name, self._model.version, tag, self._tracking_uri))

    def _call(self, ask: Callable[[], Result]) -> Result:
        try:
            return self._calls.submit(ask).result(TIMEOUT_S)
        except (*registry_errors(), FutureTimeoutError) as error:
            logger.warning("names of directions: MLflow failed: %s", reason_of(error))
            raise NamesUnavailableError("the model registry does not answer; try again later") from None


class NamesInFile:
    """Names in a JSON file, for a model that is not registered."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[int, str]:
        """Return the names."""
        if not self._path.exists():
            return {}
        return {int(number): name for number, name in json.loads(self._path.read_text()).items()}

    def set(self, number: int, name: str) -> None:
        """Name a direction; an empty name removes it."""
        names = {key: value for key, value in {**self.read(), number: name}.items() if value}
        with write_atomically(self._path) as temporary:
            temporary.write_text(json.dumps(names, ensure_ascii=False))


def open_names(model: ModelVersion, registry: str | None, checkpoint: Path, home: Path) -> DirectionNames:
    """Return where the names of a model's directions are kept.

    Args:
        model: name and version.
        registry: URI of the MLflow store that it is registered in; None for a checkpoint folder.
        checkpoint: its directory.
        home: folder of the service's files.
    """
    if registry is not None:
        return NamesInRegistry(model, registry)
    weights = file_sha256(checkpoint / GENERATOR)
    return NamesInFile(home / "direction_names" / f"{weights[:16]}.json")


def names_in_tags(tags: Mapping[str, str]) -> dict[int, str]:
    """Return the names among the tags of a version."""
    numbered = {key.removeprefix(TAG): name for key, name in tags.items() if key.startswith(TAG)}
    return {int(number): name for number, name in numbered.items() if number.isdecimal() and name}
