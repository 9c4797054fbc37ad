"""The journal of a training run: what MLflow is to be told, first kept on disk in an append-only file.

A line holds the metrics of one step, a picture, a text, the step of a checkpoint or a warning, with its
time. One process appends, others may read meanwhile. Each metric of a step is kept once: a resumed run
repeats the steps since its checkpoint, with the same values, and the repetition is dropped.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from preprocessing.storage.files import write_atomically

JOURNAL = "journal.jsonl"
PICTURES = "pictures"

log = logging.getLogger(__name__)


class RunJournal:
    """Appends to the journal in `folder`, which is created."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        folder.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._size_bytes = _whole_bytes(self._path)
        self._seen = {
            (name, entry.get("step"))
            for entry, _ in entries(folder)
            for name in entry.get("metrics", (entry.get("picture"),))
        }
        self._waiting: list[bytes] = []
        self._is_disk_full = False

    def add_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append the metrics of `step` that are not in the journal yet."""
        new = {name: float(value) for name, value in values.items() if (name, step) not in self._seen}
        if new:
            self._seen.update((name, step) for name in new)
            self._append({"step": step, "metrics": new})

    def add_picture(self, name: str, step: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Keep an RGB picture, unless the journal has it."""
        from PIL import Image

        if (name, step) in self._seen:
            return
        path = self._folder / PICTURES / f"{name}-{step:08d}.png"
        try:
            with write_atomically(path) as file:
                Image.fromarray(picture).save(file)
        except OSError as error:
            log.warning("a picture of step %d is lost: %s", step, error)
            return
        self._seen.add((name, step))
        self._append({"step": step, "picture": name, "file": f"{PICTURES}/{path.name}"})

    def add_text(self, path: str, content: str) -> None:
        """Keep a text, which replaces an earlier one under the same `path` among the run's artifacts."""
        self._append({"text": path, "content": content})

    def add_checkpoint(self, step: int) -> None:
        """Note that a checkpoint of `step` is stored."""
        self._append({"checkpoint": step})

    def add_warning(self, content: str) -> None:
        """Note a warning of a worker, for the machine that started the training; MLflow is not told."""
        self._append({"warning": content})

    def sync(self) -> None:
        """Return once everything is on disk, also after a power failure.

        Raises:
            OSError: the disk does not take it; later calls try again.
        """
        self._write()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _append(self, entry: dict[str, Any]) -> None:
        line = {"time_ms": int(time.time() * 1000), **entry}
        self._waiting.append(json.dumps(line).encode() + b"\n")
        try:
            self._write()
        except OSError as error:
            if not self._is_disk_full:
                log.warning("%s cannot be written (%s); its lines wait in memory", self._path, error)
            self._is_disk_full = True
        else:
            self._is_disk_full = False

    def _write(self) -> None:
        content = b"".join(self._waiting)
        try:
            with self._path.open("r+b") as file:
                # Over what a killed process or a full disk left of a line.
                file.seek(self._size_bytes)
                file.truncate()
                file.write(content)
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, self._size_bytes)
            raise
        self._size_bytes += len(content)
        self._waiting = []


def entries(folder: Path, offset_bytes: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the whole lines of a journal from `offset_bytes` on, each with the offset behind it."""
    path = folder / JOURNAL
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset_bytes)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset_bytes += len(line)
            yield json.loads(line), offset_bytes


def curves(folder: Path, prefixes: tuple[str, ...]) -> dict[str, dict[int, float]]:
    """Return the values by step of each metric whose name starts with one of `prefixes`."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for entry, _ in entries(folder):
        for name, value in entry.get("metrics", {}).items():
            if name.startswith(prefixes):
                found[name][entry["step"]] = value
    return dict(found)


def last_checkpoint(folder: Path) -> int:
    """Return the step of the newest checkpoint that a journal knows; 0 for none."""
    return max((entry.get("checkpoint", 0) for entry, _ in entries(folder)), default=0)


def _whole_bytes(path: Path) -> int:
    """Return the length of a file up to its last line's end."""
    return path.read_bytes().rfind(b"\n") + 1
