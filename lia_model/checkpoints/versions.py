"""The checkpoints of a run on disk: a folder a step, and a pointer to the one to resume from.

A writer killed at any moment leaves the pointer at a whole checkpoint: each folder is synced and renamed
before the pointer is replaced, and old folders are removed after it. A run has one writer.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lia_model.checkpoints.file_hashes import HASHES, verify_hashes, write_hashes
from preprocessing.storage.files import write_atomically, write_folder_atomically

POINTER = "latest.json"
TRAINING_JSON = "training.json"
"""File of a training checkpoint with its counters; its `step` orders the checkpoints."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointVersions:
    """Writes and finds the checkpoints of one run."""

    root: Path
    num_kept: int
    """Newest checkpoints that stay."""

    @contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """Yield an empty folder, which becomes the latest checkpoint when the block ends without an error."""
        name = f"step-{step:08d}"
        with write_folder_atomically(self.root / name) as folder:
            yield folder
            write_hashes(folder)
        with write_atomically(self.root / POINTER) as file:
            file.write_text(json.dumps({"checkpoint": name}) + "\n")
        self._prune(name)

    def latest(self) -> Path | None:
        """Return the checkpoint to resume from; None if none was ever finished.

        If its files have changed since, it is an earlier whole one, with a warning.

        Raises:
            ValueError: there are checkpoints, and none is whole.
        """
        pointer = self.root / POINTER
        if not pointer.is_file():
            return None
        try:
            directory = self.root / json.loads(pointer.read_text())["checkpoint"]
        except (ValueError, KeyError, TypeError):
            directory = self.root / POINTER
        return whole_or_earlier(directory, lambda: newest_whole(self.root))

    def _prune(self, latest: str) -> None:
        others = sorted(path for path in self.root.glob("step-*") if path.name != latest)
        for path in others[: max(0, len(others) - self.num_kept + 1)]:
            shutil.rmtree(path, ignore_errors=True)
        # Temporary files and folders of killed writers.
        for path in self.root.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def whole_or_earlier(directory: Path, find_earlier: Callable[[], Path | None]) -> Path:
    """Return `directory`, or if it was damaged, with a warning, what `find_earlier` returns.

    Args:
        directory: a checkpoint.
        find_earlier: returns an earlier whole checkpoint, or None.

    Raises:
        ValueError: no checkpoint is whole; the message names what is wrong with `directory`.
    """
    try:
        _require_whole(directory)
    except ValueError as error:
        earlier = find_earlier()
        if earlier is None:
            raise
        log.warning("%s; training goes on from %s", error, earlier)
        return earlier
    return directory


def newest_whole(root: Path) -> Path | None:
    """Return the checkpoint of the highest step in `root` whose files are as written, or None."""
    # A folder without hashes may be half a checkpoint.
    whole = [path for path in root.glob("*") if (path / HASHES).is_file() and _is_whole(path)]
    return max(whole, key=_step, default=None)


def _is_whole(directory: Path) -> bool:
    try:
        _require_whole(directory)
    except ValueError:
        return False
    return True


def _require_whole(directory: Path) -> None:
    if not (directory / TRAINING_JSON).is_file():
        raise ValueError(
            f"{directory} is not a training checkpoint, for it has no {TRAINING_JSON}: copy the checkpoint "
            f"again, or remove {directory.parent} to start from the beginning"
        )
    verify_hashes(directory)


def _step(directory: Path) -> int:
    return json.loads((directory / TRAINING_JSON).read_text())["step"]
