"""Temporary folders of this machine that vanish with their process, however that ends.

A process holds the lock of its folder while it lives; what a killed one left is removed by the next one.
"""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_LOCK = "in_use"
_START_S = 60
"""Within which a process locks the folder that it has made."""


@contextmanager
def held_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder in the system's temporary one, removed at the end; its lock is in it."""
    folder, lock = hold(Path(tempfile.gettempdir()), prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def hold(parent: Path, prefix: str) -> tuple[Path, TextIO]:
    """Make a folder and return it with its lock, after removing those that no process holds.

    Args:
        parent: where.
        prefix: with which the names of these folders begin, and of no others.
    """
    for former in parent.glob(f"{prefix}*"):
        _remove_if_left(former)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    # Held open: the lock ends with the process.
    lock = (folder / _LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _remove_if_left(folder: Path) -> None:
    """Remove a folder that no process holds; another user's stays."""
    try:
        if time.time() - folder.stat().st_mtime < _START_S:
            return
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    shutil.rmtree(folder, ignore_errors=True)
