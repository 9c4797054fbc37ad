"""Files of a batch by path on this machine or by URL in an object store, such as s3://bucket/portrait.jpg."""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from preprocessing.storage.object_store import Store

_URL = "://"
SETTING = "the batch's"
"""What names an address in messages of the store."""


def is_url(place: str) -> bool:
    """Return whether a place is in an object store."""
    return _URL in place


def joined(folder: str, name: str) -> str:
    """Return the place `name` in a folder; an absolute path or a URL stays as it is."""
    if is_url(name):
        return name
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder, name))


def version_of(place: str) -> str | None:
    """Return what changes with a file; None if there is none that we may see.

    Raises:
        StoreError: the object store cannot be read.
    """
    if is_url(place):
        store, name = _located(place)
        return store.version(name)
    try:
        found = os.stat(place)  # noqa: PTH116 - a Path raises for more kinds of names
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns}"


def existing_files(places: Collection[str]) -> set[str]:
    """Return those of the files that exist; folders of an object store are listed, not asked file by file.

    Raises:
        StoreError: the object store cannot be read.
    """
    urls = [place for place in places if is_url(place)]
    folders = {url.rpartition("/")[0] for url in urls}
    listed = {f"{folder}/{name}" for folder in folders for name in Store(folder, SETTING).names("")}
    return {url for url in urls if url in listed} | {one for one in places if os.path.isfile(one)}  # noqa: PTH113


def upload(path: Path, url: str) -> None:
    """Make the file of an object store hold what `path` does.

    Raises:
        StoreError: the object store cannot be written.
    """
    store, name = _located(url)
    store.upload(path, name)


class Downloads:
    """Local copies of files of an object store, the latest ones, in a folder of their own.

    Rows share files, most often the driving clip, which is downloaded once then.
    """

    def __init__(self, folder: Path, max_num: int = 2) -> None:
        self._folder = folder
        self._max_num = max_num
        self._urls: list[str] = []

    def local(self, place: str) -> Path:
        """Return the path of a file, after a download if it is in an object store.

        Raises:
            StoreError: there is no such file in the object store, or it cannot be read.
        """
        if not is_url(place):
            return Path(place)
        path = self._path(place)
        if place in self._urls:
            self._urls.remove(place)
        else:
            store, name = _located(place)
            store.download(name, path)
        self._urls.append(place)
        while len(self._urls) > self._max_num:
            self._path(self._urls.pop(0)).unlink(missing_ok=True)
        return path

    def _path(self, url: str) -> Path:
        name = url.rpartition("/")[2]
        return self._folder / hashlib.sha256(url.encode()).hexdigest()[:16] / (name or "unnamed")


def _located(url: str) -> tuple[Store, str]:
    folder, _, name = url.rpartition("/")
    return Store(folder, SETTING), name
