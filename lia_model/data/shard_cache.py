"""Shards on a machine that trains: those at the given path, or copies from the object store in a cache.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lia_model.settings import ShardCacheSettings
from preprocessing.shards.file_hashes import verified_file, verify_shards, wrong_files
from preprocessing.shards.manifest import MANIFEST_NAME, Manifest, Split, data_digest, read_manifest
from preprocessing.storage.exchange import SHARDS_BUNDLE
from preprocessing.storage.outage import patiently

if TYPE_CHECKING:
    from preprocessing.storage.object_store import Store

log = logging.getLogger(__name__)


@contextmanager
def shards_here(
    shards: Path, digest: str, split: Split, store: Store | None, settings: ShardCacheSettings
) -> Iterator[Path]:
    """Yield the folder of the shards of a data set, with the tars of one split, verified.

    Args:
        shards: folder to use without a copy if it holds the data set on this machine.
        digest: of the data set's manifest.
        split: whose tars are needed.
        store: where the shards are fetched from otherwise; None for nowhere.
        settings: of this machine's cache.

    Raises:
        ValueError: this machine has no such shards and there is no store, the store holds other shards, or
            the cache is too small.
        StoreError: the store cannot be read.
        TimeoutError: it was down for long.
    """
    if _holds(shards, digest):
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
        shutil.rmtree(shards)
        raise ValueError(
            f"the store holds the shards {data_digest(manifest)[:12]}…, this run needs {digest[:12]}…: "
            "run `lia shards` where the run's shards are, or train on those of the store"
        )
    missing = wrong_files(shards, split)
    if missing:
        _make_room(folder, digest, manifest, split, max_bytes)
        log.info("fetching %d files of shards into %s", len(missing), shards)
        _fetch(store, shards, list(missing))
        verify_shards(shards, split)


def _fetch(store: Store, shards: Path, names: Sequence[str]) -> None:
    places = {name: shards / name for name in names}
    patiently(functools.partial(store.fetch, SHARDS_BUNDLE, places), "shards")


def _make_room(folder: Path, digest: str, manifest: Manifest, split: Split, max_bytes: int) -> None:
    """Remove data sets that nobody reads, those unused for longest first, until the split fits in."""
    needed = sum(entry.bytes for entry in manifest.split(split).tars)
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
