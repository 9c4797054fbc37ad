"""Where registered models of a server are kept: one copy a process of each, removed at its end."""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TextIO

from preprocessing.storage.held_folder import hold

_PREFIX = "lia-models-"


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
    home, lock = hold(parent, _PREFIX)
    atexit.register(_remove, home, lock, os.getpid())
    return home


def _remove(home: Path, lock: TextIO, pid: int) -> None:
    # A forked process ends too.
    if os.getpid() == pid:
        shutil.rmtree(home, ignore_errors=True)
        lock.close()
