"""Keeps the best generator of a run where the run's checkpoints are: in a folder or in an object store.

An object store cannot exchange two folders. There each best has a new folder, `best/NUMBER-step-STEP`, and
`best/latest.json`, a single object, names the present one. A writer killed at any moment leaves that pointer
at a whole folder: it is replaced after the upload, and earlier folders are removed after that. Runs of
earlier versions have the files themselves in `best`.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lia_model.checkpoints.best import BEST, Validated, forget_best, keep_if_best
from lia_model.checkpoints.directory import CONFIG, GENERATOR
from lia_model.networks.generator import Generator
from lia_model.training.cluster.run_storage import RunStorage
from lia_model.training.cluster.stored_folder import (
    download_file,
    download_folder,
    folders_in,
    is_file,
    is_finished,
    read_file,
    remove_folder,
    upload_file,
    upload_folder,
)

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

POINTER = "latest.json"
NUM_KEPT = 2
"""The best, and the one before it, for the case that the best is damaged."""

log = logging.getLogger(__name__)


def keep_in_storage(
    storage: RunStorage, generator: Generator, provenance: dict[str, Any], validated: Validated
) -> None:
    """Store a generator as the best of its run if it is; one process a run may call this at a time."""
    if storage.directory is not None:
        keep_if_best(storage.directory, generator, provenance, validated)
        return
    stored = _stored_best(storage)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            stored.fetch(root / BEST)
        except ValueError as error:
            log.warning("%s; the generator validated next takes its place", error)
        if keep_if_best(root, generator, provenance, validated):
            stored.write(root / BEST, validated.step)


def fetch_best(storage: RunStorage, root: Path) -> None:
    """Copy the best generator from an object store to `root`; nothing happens for a folder or without one.

    Raises:
        ValueError: there is one, and none that is whole; the message names what is damaged.
    """
    if storage.directory is None:
        forget_best(root)
        _stored_best(storage).fetch(root / BEST)


def forget_of_earlier_run(storage: RunStorage) -> None:
    """Remove the best generator of a run that has no checkpoint to go on from."""
    if storage.has_checkpoints():
        return
    if storage.directory is not None:
        forget_best(storage.directory)
    else:
        _stored_best(storage).remove()


def _stored_best(storage: RunStorage) -> StoredBest:
    files, root = storage.open()
    return StoredBest(files, f"{root}/{storage.name}/{BEST}", f"{storage}/{BEST}")


@dataclass(frozen=True)
class StoredBest:
    """The best generator of one run in an object store."""

    files: FileSystem
    place: str
    """Path in the file system."""
    url: str
    """The same for people."""

    def write(self, folder: Path, step: int) -> None:
        """Store the generator in `folder`, which has its hashes, as the best; `step` is for people."""
        versions = self._versions()
        number = 1 + max((int(name.partition("-")[0]) for name in versions), default=0)
        name = f"{number:06d}-step-{step:08d}"
        upload_folder(self.files, folder, f"{self.place}/{name}")
        with TemporaryDirectory() as temporary:
            pointer = Path(temporary) / POINTER
            pointer.write_text(json.dumps({"checkpoint": name}) + "\n")
            upload_file(self.files, pointer, f"{self.place}/{POINTER}")
        self._prune()

    def fetch(self, target: Path) -> None:
        """Copy the best generator to the folder `target`, which is made if there is one.

        If it is damaged, the one before it is taken, with a warning.

        Raises:
            ValueError: none is whole.
        """
        damage = None
        for name in self._candidates():
            try:
                download_folder(self.files, f"{self.place}/{name}", target)
            except ValueError as error:
                shutil.rmtree(target)
                damage = damage or error
            else:
                if damage is not None:
                    log.warning("the best generator is damaged (%s); %s is taken", damage, name)
                return
        if damage is not None:
            raise ValueError(
                f"the best generator is damaged ({damage}), and there is no other: remove {self.url} to "
                "release the last weights, and repeat the command"
            )
        if is_file(self.files, f"{self.place}/{CONFIG}"):
            self._fetch_former(target)

    def remove(self) -> None:
        """Remove the best generator."""
        self._remove_file(POINTER)
        remove_folder(self.files, self.place)

    def _candidates(self) -> list[str]:
        """Return the name in the pointer, and then the others that are finished, newest first."""
        pointed = self._pointed()
        others = [name for name in reversed(self._versions()) if name != pointed]
        finished = [name for name in others if is_finished(self.files, f"{self.place}/{name}")]
        return finished if pointed is None else [pointed, *finished]

    def _pointed(self) -> str | None:
        path = f"{self.place}/{POINTER}"
        if not is_file(self.files, path):
            return None
        content = read_file(self.files, path)
        try:
            return json.loads(content)["checkpoint"]
        except (ValueError, KeyError, TypeError):
            log.warning("%s/%s is damaged; the newest best generator is taken", self.url, POINTER)
            return None

    def _versions(self) -> list[str]:
        return [name for name in folders_in(self.files, self.place) if name.partition("-")[0].isdigit()]

    def _prune(self) -> None:
        versions = self._versions()
        kept = [name for name in versions if is_finished(self.files, f"{self.place}/{name}")][-NUM_KEPT:]
        for name in versions:
            if name not in kept:
                remove_folder(self.files, f"{self.place}/{name}")
        for name in (CONFIG, GENERATOR):
            self._remove_file(name)

    def _fetch_former(self, target: Path) -> None:
        """Copy what an earlier version stored, and replaced in place."""
        log.warning("%s was stored without hashes by an earlier version and cannot be verified", self.url)
        target.mkdir(parents=True)
        for name in (CONFIG, GENERATOR):
            download_file(self.files, f"{self.place}/{name}", target / name)

    def _remove_file(self, name: str) -> None:
        if is_file(self.files, f"{self.place}/{name}"):
            with suppress(FileNotFoundError):
                self.files.delete_file(f"{self.place}/{name}")
