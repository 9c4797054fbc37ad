"""Where Ray Train keeps the checkpoints of a run: a folder that all machines see, or an object store."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lia_model.checkpoints.versions import newest_whole, whole_or_earlier
from lia_model.training.cluster.stored_folder import (
    download_folder,
    folders_in,
    is_file,
    is_finished,
    read_file,
    upload_file,
)

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Ray writes it in place, so a kill can cut it short.
RAY_LIST = "checkpoint_manager_snapshot.json"
RAY_PREFIX = "checkpoint_"
"""Of the folders of Ray's checkpoints, which it names by the time of writing."""
MILESTONES = "milestones"
"""Folder of the checkpoints that stay for good, each in a folder named by its step."""
SETTING = "LIA_TRAIN_STORAGE_URL"

log = logging.getLogger(__name__)


@runtime_checkable
class StoredCheckpoint(Protocol):
    """What is needed of Ray Train's `Checkpoint`."""

    path: str

    def as_directory(self) -> AbstractContextManager[str]:
        """Return a context with the checkpoint's folder on this machine."""
        ...

    def to_directory(self, path: str | None = None) -> str:
        """Copy the checkpoint to a folder of this machine and return that."""
        ...


@dataclass(frozen=True)
class RunStorage:
    """The checkpoints of one run, as plain values that are sent to the workers."""

    place: str
    """Absolute path of a folder, or a URL that fsspec knows, such as `s3://bucket/folder`; credentials and
    endpoint come from the variables of each machine, such as AWS_ENDPOINT_URL."""
    name: str
    """Name of the run's folder in `place`."""

    @property
    def directory(self) -> Path | None:
        """Return the run's folder; None in an object store."""
        return None if "://" in self.place else Path(self.place) / self.name

    def __str__(self) -> str:
        """Return the run's folder for people."""
        return f"{self.place}/{self.name}"

    def open(self) -> tuple[FileSystem, str]:
        """Return the file system and the path of `place` in it.

        Raises:
            StoreError: fsspec does not know the protocol, or its package is not installed.
        """
        if self.directory is not None:
            from pyarrow.fs import LocalFileSystem

            return LocalFileSystem(), self.place
        from preprocessing.storage.object_store import Store

        return Store(self.place, SETTING).arrow_file_system()

    def discard_damaged_list(self) -> None:
        """Remove Ray's list of a run's checkpoints if a killed process left half of it, which Ray refuses."""
        files, root = self.open()
        path = f"{root}/{self.name}/{RAY_LIST}"
        if not is_file(files, path):
            return
        try:
            json.loads(read_file(files, path))
        except ValueError:
            log.warning(
                "%s/%s is damaged and was removed; training goes on from the newest whole checkpoint",
                self,
                RAY_LIST,
            )
            files.delete_file(path)

    @contextmanager
    def whole(self, checkpoint: StoredCheckpoint | None) -> Iterator[Path | None]:
        """Yield the folder of Ray's latest checkpoint; if it is damaged, or unknown, of the newest whole one.

        An object store that is down is waited for, and never taken for an empty one.

        Args:
            checkpoint: the latest by Ray's list, or None if the list names none.

        Raises:
            ValueError: there are checkpoints, and none is whole.
        """
        with TemporaryDirectory() as folder:
            if checkpoint is None:
                yield self._newest_whole(Path(folder))
                return
            with checkpoint.as_directory() as latest:
                yield whole_or_earlier(Path(latest), lambda: self._newest_whole(Path(folder)))

    def has_checkpoints(self) -> bool:
        """Return whether there is a checkpoint whose writer came to its end, damaged since or not."""
        files, root = self.open()
        place = f"{root}/{self.name}"
        return any(is_finished(files, f"{place}/{name}") for name in self._checkpoints(files, place))

    def keep(self, file: Path, name: str) -> str:
        """Copy a file of this machine into the run's folder, under the relative path `name`; return where."""
        files, root = self.open()
        upload_file(files, file, f"{root}/{self.name}/{name}")
        return f"{self}/{name}"

    def size_bytes(self) -> int:
        """Return what the run's files take in an object store."""
        from pyarrow.fs import FileSelector

        files, root = self.open()
        listed = files.get_file_info(
            FileSelector(f"{root}/{self.name}", recursive=True, allow_not_found=True)
        )
        return sum(file.size or 0 for file in listed)

    def remove(self) -> None:
        """Remove the run's folder."""
        files, root = self.open()
        with suppress(FileNotFoundError):
            files.delete_dir(f"{root}/{self.name}")

    def fetch(self, checkpoint: StoredCheckpoint, place: Path) -> Path:
        """Return a checkpoint's folder on this machine: its own, or `place`, which is replaced by a copy."""
        if self.directory is not None:
            return Path(checkpoint.path)
        shutil.rmtree(place, ignore_errors=True)
        return Path(checkpoint.to_directory(str(place)))

    def _newest_whole(self, folder: Path) -> Path | None:
        """Return the newest whole checkpoint, from an object store as a copy in the empty `folder`."""
        if self.directory is not None:
            return newest_whole(self.directory) or newest_whole(self.directory / MILESTONES)
        files, root = self.open()
        place = f"{root}/{self.name}"
        for name in self._checkpoints(files, place):
            if not is_finished(files, f"{place}/{name}"):
                continue
            try:
                download_folder(files, f"{place}/{name}", folder / name)
            except ValueError as error:
                log.warning("%s: the checkpoint before it is tried", error)
                shutil.rmtree(folder / name)
            else:
                return folder / name
        return None

    def _checkpoints(self, files: FileSystem, place: str) -> list[str]:
        """Return the names of the run's checkpoints, newest first, and then of its milestones."""
        of_ray = [name for name in folders_in(files, place) if name.startswith(RAY_PREFIX)]
        milestones = [f"{MILESTONES}/{name}" for name in folders_in(files, f"{place}/{MILESTONES}")]
        return [*reversed(of_ray), *reversed(milestones)]
