"""Where registered models are kept that come from a server: one copy a process of each, removed at its end.

What a killed process left is removed by the next one: a process holds the lock of its folder while it lives.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TextIO

_PREFIX = "lia-models-"
_LOCK = "in_use"
_START_S = 60
"""Within which a process locks the folder that it has made."""


def fetch_once(location: str, download: Callable[[Path], str]) -> Path:
    """Return this process's copy of a place in a store.

    Args:
        location: URI by which the store names that place and never another.
        download: copies the place into a folder and returns where in it.
    """
    place = _home(Path(tempfile.gettempdir())) / hashlib.sha256(location.encode()).hexdigest()[:16]
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
            fetched = Path(download(Path(temporary)))
            # Another thread may have been faster; its copy is the same.
            if not place.is_dir():
                fetched.rename(place)
    return place


@cache
def _home(parent: Path) -> Path:
    for former in parent.glob(f"{_PREFIX}*"):
        _remove_if_left(former)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # Held open: the lock ends with the process, however that ends.
    lock = (home / _LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    atexit.register(_remove, home, lock, os.getpid())
    return home


def _remove(home: Path, lock: TextIO, pid: int) -> None:
    # A forked process ends too.
    if os.getpid() == pid:
        shutil.rmtree(home, ignore_errors=True)
        lock.close()


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
