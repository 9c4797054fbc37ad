"""Shards on a machine that reads them: those at the given path, or copies from the object store in a cache.

A folder of shards may be without tars: those that a cluster made are in the store alone.
The cache holds a folder for each data set. It is shared by the processes of a machine and by runs, one of
which fills it at a time; whoever reads a data set holds a lock, without which it may make room for others.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lia_model.settings import ShardCacheSettings
from preprocessing.shards.clip_index import INDEX_NAME, read_index
from preprocessing.shards.file_hashes import listed_files, verified_file, verify_shards, wrong_among
from preprocessing.shards.frame_index import frames_name
from preprocessing.shards.manifest import (
    MANIFEST_NAME,
    Split,
    TarEntry,
    data_digest,
    read_manifest,
)
from preprocessing.shards.stored_shards import fetch_tar
from preprocessing.storage.exchange import SHARDS_BUNDLE
from preprocessing.storage.outage import StoreError, patiently

if TYPE_CHECKING:
    from preprocessing.storage.object_store import Store

NUM_PARALLEL = 4
"""Tars fetched at a time."""

log = logging.getLogger(__name__)


@contextmanager
def shards_here(
    shards: Path, digest: str, split: Split, store: Store | None, settings: ShardCacheSettings
) -> Iterator[Path]:
    """Yield the folder of the shards of a data set, with the tars that reading one split needs, verified.

    Args:
        shards: folder to use without a copy if it holds the data set, with these tars, on this machine.
        digest: of the data set's manifest.
        split: which one; a test clip that follows a train clip needs the tar of that one too.
        store: where the shards are fetched from otherwise; None for nowhere.
        settings: of this machine's cache.

    Raises:
        ValueError: this machine has no such shards and there is no store, the store holds other shards, or
            the cache is too small.
        StoreError: the store cannot be read.
    """
    if _holds(shards, digest) and (store is None or not are_tars_elsewhere(shards, split)):
        verify_shards(shards, split)
        yield shards
        return
    if store is None:
        raise ValueError(
            f"{shards} does not hold the shards of this run on this machine, and there is no store to fetch "
            "them from: set LIA_STORE_URL and run `lia shards` once, or share the folder"
        )
    folder = Path(settings.folder).expanduser()
    with _locked(folder / ".filling.lock", fcntl.LOCK_EX) as filling:
        in_use = _open_lock(_lock_file(folder, digest))
        with in_use:
            fcntl.flock(in_use, fcntl.LOCK_SH)
            _fill(folder, digest, split, store, settings.max_bytes)
            # The system's own stamps are of its coarse clock, by which two uses may be at the same time.
            used_ns = time.time_ns()
            os.utime(_lock_file(folder, digest), ns=(used_ns, used_ns))
            fcntl.flock(filling, fcntl.LOCK_UN)
            yield folder / digest


def are_tars_elsewhere(shards: Path, split: Split) -> bool:
    """Return whether a folder of shards lacks a tar that reading a split needs, as a cluster leaves it."""
    return not all((shards / name).is_file() for name in _needed_files(shards, split))


def _needed_files(shards: Path, split: Split) -> dict[str, str]:
    """Return the hash of each file that reading a split needs, by its name; its index has to be there."""
    manifest = read_manifest(shards)
    listed = listed_files(split, manifest.split(split))
    if split == "train" or not (shards / split / INDEX_NAME).is_file():
        return listed
    followed = {key for key in read_index(shards / split / INDEX_NAME).follows.values if key}
    if not followed or not (shards / "train" / INDEX_NAME).is_file():
        return listed
    train = manifest.splits.train
    index = read_index(shards / "train" / INDEX_NAME)
    numbers = {index.clip_tar[row] for row, key in enumerate(index.clip_key) if key in followed}
    tars = [train.tars[number] for number in sorted(numbers)]
    return listed | listed_files("train", train.model_copy(update={"tars": tars}))


def _holds(shards: Path, digest: str) -> bool:
    return (shards / MANIFEST_NAME).is_file() and data_digest(read_manifest(shards)) == digest


def _fill(folder: Path, digest: str, split: Split, store: Store, max_bytes: int) -> None:
    """Bring what is missing of a data set into the cache; without the store if nothing is."""
    shards = folder / digest
    for path in shards.rglob(".*"):
        # Partial files of killed processes: nobody else fills the cache.
        path.unlink()
    if not _holds(shards, digest):
        _fetch(store, shards, (MANIFEST_NAME,))
    manifest = read_manifest(shards)
    if data_digest(manifest) != digest:
        found = data_digest(manifest)
        shutil.rmtree(shards)
        raise _other_shards(found, digest)
    _fetch_indices(store, shards, digest, split)
    needed = _needed_files(shards, split)
    missing = wrong_among(shards, needed)
    if not missing:
        return
    tars = {
        f"{one}/{entry.name}": entry
        for one in dict.fromkeys((split, "train"))
        for entry in manifest.split(one).tars
        if f"{one}/{entry.name}" in needed
    }
    _make_room(folder, digest, sum(entry.bytes for entry in tars.values()), max_bytes)
    lacking = {
        name: entry
        for name, entry in tars.items()
        if not missing.keys().isdisjoint((name, f"{Path(name).parent}/{frames_name(name)}"))
    }
    log.info("fetching %d tars of shards into %s", len(lacking), shards)
    _fetch_tars(store, shards, lacking)
    for reason in wrong_among(shards, needed).values():
        raise ValueError(f"{reason}, although it was just fetched: run `lia shards` again")


def _other_shards(found: str, digest: str) -> ValueError:
    return ValueError(
        f"the store holds the shards {found[:12]}…, this run needs {digest[:12]}…: "
        "run `lia shards` where the run's shards are, or train on those of the store"
    )


def _fetch_indices(store: Store, shards: Path, digest: str, split: Split) -> None:
    """Fetch the index of a split and, if its clips follow train clips, that of these."""
    manifest = read_manifest(shards)
    for one in dict.fromkeys((split, "train")):
        if one != split and not any(read_index(shards / split / INDEX_NAME).follows.values):
            return
        listed = {f"{one}/{INDEX_NAME}": manifest.split(one).index_sha256}
        if wrong_among(shards, listed):
            _fetch(store, shards, list(listed))
        if wrong_among(shards, listed):
            raise _other_shards("of a later run", digest)


def _fetch(store: Store, shards: Path, names: Sequence[str]) -> None:
    places = {name: shards / name for name in names}
    patiently(functools.partial(store.fetch, SHARDS_BUNDLE, places), "shards")


def _fetch_tars(store: Store, shards: Path, tars: Mapping[str, TarEntry]) -> None:
    """Fetch tars, by their names in the folder of shards, and the files beside them."""

    def fetch(name: str) -> None:
        if not fetch_tar(store, tars[name], (shards / name).parent):
            raise StoreError(f"the store has no whole {name}: run `lia shards`, which stores it again")

    with ThreadPoolExecutor(NUM_PARALLEL) as pool:
        list(pool.map(fetch, tars))


def _make_room(folder: Path, digest: str, needed: int, max_bytes: int) -> None:
    """Remove data sets that nobody reads, those unused for longest first, until `needed` bytes fit in."""
    others = sorted(
        (path for path in folder.iterdir() if path.is_dir() and path.name != digest),
        key=lambda path: _last_use_ns(folder, path.name),
    )
    sizes = {path: _size(path) for path in others}
    for path in others:
        if needed + sum(sizes.values()) <= max_bytes:
            return
        if _remove_if_unused(folder, path):
            log.info("removed the shards in %s, which no training reads, to make room", path)
            del sizes[path]
    in_use = sum(sizes.values())
    if needed + in_use > max_bytes:
        raise ValueError(
            f"the shards of this run take {needed} bytes, {folder} may hold {max_bytes}, and trainings that "
            f"run now read {in_use} of them: raise train.shard_cache.max_bytes"
        )


def _remove_if_unused(folder: Path, path: Path) -> bool:
    with _open_lock(_lock_file(folder, path.name)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(path)
        verified_file(path).unlink(missing_ok=True)
        return True


def _lock_file(folder: Path, digest: str) -> Path:
    return folder / f".{digest}.lock"


@contextmanager
def _locked(path: Path, mode: int) -> Iterator[IO[str]]:
    with _open_lock(path) as lock:
        fcntl.flock(lock, mode)
        yield lock


def _open_lock(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


def _last_use_ns(folder: Path, digest: str) -> int:
    path = _lock_file(folder, digest)
    return path.stat().st_mtime_ns if path.is_file() else 0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
