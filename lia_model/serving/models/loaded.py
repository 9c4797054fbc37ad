"""The models that a replica has loaded, as many as its memory may hold, and their files on its disk.

Replicas of one service share the folder of the files.
"""

import logging
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from lia_model.animation.run import AnimationRun
from lia_model.registry.golden_pair import GoldenPairError, fetch_golden_pair
from lia_model.registry.models import fetch_checkpoint, registry_errors
from lia_model.registry.outages import reason_of
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.messages import ModelVersion

logger = logging.getLogger(__name__)


class ModelUnavailableError(Exception):
    """A version cannot be loaded now: the registry does not answer, or no longer has it."""


class LoadedModels:
    """Loads versions when a job needs them, one at a time.

    Args:
        load: loads the checkpoint directory of a version.
        folder: where checkpoints from the registry are kept.
        golden_folder: where their golden pairs are kept, with which `load` checks them.
        max_num: versions in memory and in the folder; those that were not used for longest make room, in
            memory once the jobs that still use them have ended.
    """

    def __init__(
        self,
        load: Callable[[ModelVersion, Path], AnimationRun],
        folder: Path,
        golden_folder: Path,
        max_num: int,
    ) -> None:
        self._load = load
        self._folder = folder
        self._golden_folder = golden_folder
        self._max_num = max_num
        self._runs: OrderedDict[ModelVersion, AnimationRun] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: ModelVersion) -> AnimationRun:
        """Return a version, loaded if it is not yet.

        Raises:
            ModelUnavailableError: it is not on the disk, and the registry does not give it, or it is not what
                was released.
        """
        with self._lock:
            if model not in self._runs:
                self._make_room_and_load(model)
            self._runs.move_to_end(model)
            return self._runs[model]

    @property
    def versions(self) -> list[ModelVersion]:
        """Return the versions in memory."""
        return list(self._runs)

    def _make_room_and_load(self, model: ModelVersion) -> None:
        directory = self._fetched(model)
        # Before the new one is loaded, so that there is never one more in memory.
        while len(self._runs) >= self._max_num:
            self._runs.popitem(last=False)
        logger.info("loading %s", model.uri)
        try:
            self._runs[model] = self._load(model, directory)
        except FileNotFoundError:
            raise ModelUnavailableError(f"another replica has removed the files of {model.uri}") from None
        except GoldenPairError as error:
            logger.warning("%s", error)
            raise ModelUnavailableError(str(error)) from None
        self._remove_oldest(directory.parent)

    def _remove_oldest(self, folder: Path) -> None:
        kept = [one for one in folder.iterdir() if not one.name.startswith(".")]
        kept.sort(key=lambda one: one.stat().st_mtime, reverse=True)
        for directory in kept[self._max_num :]:
            shutil.rmtree(directory, ignore_errors=True)

    def _fetched(self, model: ModelVersion) -> Path:
        """Return the version's checkpoint directory, copied from the registry once."""
        directory = self._folder / model.name / model.version
        if directory.is_dir():
            directory.touch()
            return directory
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".") as temporary:
            try:
                copy = fetch_checkpoint(model.uri, Path(temporary))
                fetch_golden_pair(model.name, model.version, self._golden_folder)
            except GoldenPairError as error:
                raise ModelUnavailableError(str(error)) from None
            except (*registry_errors(), ValueError) as error:
                logger.warning("%s cannot be read from the registry: %s", model.uri, reason_of(error))
                raise ModelUnavailableError(
                    f"{model.uri} cannot be read from the model registry; the server's log has the details"
                ) from None
            # The copy has the time of the original, by which it might be the first to make room.
            copy.touch()
            try:
                copy.rename(directory)
            except OSError:
                # Another replica was faster.
                if not directory.is_dir():
                    raise
        return directory


class LoadedMarks:
    """Which versions any replica has loaded: files in a folder that all of them touch.

    Args:
        folder: of the files, created by the first mark.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mark(self, models: Iterable[ModelVersion]) -> None:
        """Note that a replica has these loaded."""
        for model in models:
            self._of(model).beat()

    def is_loaded(self, model: ModelVersion) -> bool:
        """Return whether a replica has marked the version within the last seconds."""
        return self._of(model).is_heard()

    def _of(self, model: ModelVersion) -> Heartbeat:
        return Heartbeat(self._folder / model.name / model.version)
