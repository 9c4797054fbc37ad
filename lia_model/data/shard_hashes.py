"""Compares the tars of a split with the hashes in the manifest, once for each file on each disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from preprocessing.shards.manifest import Split, TarEntry, read_manifest
from preprocessing.storage.files import file_sha256, write_atomically

NUM_THREADS = 4
_REMEDY = "copy the shards again (`dvc checkout`, `dvc pull`), or make them with `lia shards`"

log = logging.getLogger(__name__)


def verified_file(shards: Path) -> Path:
    """Return where the hashes of a folder of shards are kept.

    Beside the folder: DVC hashes what is inside.
    """
    return shards.with_name(f".{shards.name}.verified.json")


def verify_shards(shards: Path, split: Split) -> None:
    """Check the tars of a split as `wrong_tars` does.

    Raises:
        ValueError: a tar is missing or is not the one of the manifest.
    """
    for reason in wrong_tars(shards, split).values():
        raise ValueError(f"{reason}: {_REMEDY}")


def wrong_tars(shards: Path, split: Split) -> dict[str, str]:
    """Return the tars of a split that are missing, or not those of the manifest, by name with the reason.

    Those that changed, by size and time of change, since they were last hashed are hashed. Processes that
    open the same shards wait for each other, so that one of them hashes. Where the results cannot be written,
    every opening hashes again.
    """
    cache = verified_file(shards)
    entries = read_manifest(shards).split(split).tars
    there = [entry for entry in entries if (shards / split / entry.name).is_file()]
    with _locked(cache):
        known = _read(cache)
        found = known | _hash_changed(shards, split, there, known)
        if found != known:
            _write(cache, found)
    wrong = {}
    for entry in entries:
        path = shards / split / entry.name
        if entry not in there:
            wrong[entry.name] = f"{path} is missing, which the manifest lists"
        elif (sha256 := found[f"{split}/{entry.name}"][2]) != entry.sha256:
            wrong[entry.name] = (
                f"{path} has the sha256 {sha256[:12]}…, the manifest lists {entry.sha256[:12]}…"
            )
    return wrong


def _hash_changed(
    shards: Path, split: Split, entries: Sequence[TarEntry], known: dict[str, list]
) -> dict[str, list]:
    changed = {}
    for entry in entries:
        path = shards / split / entry.name
        status = path.stat()
        if known.get(f"{split}/{entry.name}", [])[:2] != [status.st_size, status.st_mtime_ns]:
            changed[path] = [status.st_size, status.st_mtime_ns]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        hashes = pool.map(file_sha256, changed)
        return {
            f"{split}/{path.name}": [*facts, sha256]
            for (path, facts), sha256 in zip(changed.items(), hashes, strict=True)
        }


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    try:
        lock = cache.with_suffix(".lock").open("a")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(cache: Path) -> dict[str, list]:
    try:
        return json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}


def _write(cache: Path, found: dict[str, list]) -> None:
    try:
        with write_atomically(cache) as file:
            file.write_text(json.dumps(found, indent=1) + "\n")
    except OSError as error:
        log.info("the hashes of the shards are not kept, since %s cannot be written: %s", cache, error)
