"""Checkpoints that killed processes left and nobody will use, which would fill the disk kill by kill."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lia_model.training.cluster.run_storage import MILESTONES, RAY_LIST, RAY_PREFIX, RunStorage
from lia_model.training.cluster.stored_folder import (
    folders_in,
    is_file,
    is_finished,
    read_file,
    remove_folder,
)
from preprocessing.storage.files import is_running

COPY_PREFIX = "lia-checkpoint-"

log = logging.getLogger(__name__)


def remove_leftovers(storage: RunStorage) -> None:
    """Remove the checkpoints of a run that are not on Ray's list, and what was being written.

    To be called while nobody writes to the run. Without a list that names a finished checkpoint all stay,
    since the run then goes on from the newest whole one.
    """
    if storage.directory is not None:
        for folder in (storage.directory, storage.directory / MILESTONES):
            for path in folder.glob(".*.partial*"):
                shutil.rmtree(path, ignore_errors=True)
    files, root = storage.open()
    place = f"{root}/{storage.name}"
    if not is_file(files, f"{place}/{RAY_LIST}"):
        return
    listed = set(_checkpoints_in(json.loads(read_file(files, f"{place}/{RAY_LIST}"))))
    if not any(is_finished(files, f"{place}/{name}") for name in listed):
        return
    for name in folders_in(files, place):
        if name.startswith(RAY_PREFIX) and name not in listed:
            log.info("%s/%s was left by a killed process and is removed", storage, name)
            remove_folder(files, f"{place}/{name}")


def own_copy_prefix() -> str:
    """Return how the name of a checkpoint begins that this process writes here before it is uploaded."""
    return f"{COPY_PREFIX}{os.getpid()}-"


def remove_abandoned_copies() -> None:
    """Remove checkpoints that killed processes of this machine were about to upload."""
    for path in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*"):
        pid = path.name.removeprefix(COPY_PREFIX).partition("-")[0]
        if pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _checkpoints_in(content: object) -> Iterator[str]:
    """Yield the names of checkpoints anywhere in Ray's list, whose structure depends on its version."""
    if isinstance(content, str) and content.startswith(RAY_PREFIX):
        yield content
    elif isinstance(content, list | dict):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _checkpoints_in(value)
