"""Compares the files of a split with the hashes in the manifest, once for each file on each disk.

A file that was hashed before counts as unchanged while its size and its time of change are the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from preprocessing.shards.clip_index import INDEX_NAME
from preprocessing.shards.frame_index import frames_name
from preprocessing.shards.manifest import Split, SplitListing, read_manifest
from preprocessing.storage.files import file_sha256, write_atomically

NUM_THREADS = 4
_REMEDY = (
    "copy the shards again (`dvc checkout`, `dvc pull`), set LIA_STORE_URL if that store has them, or make "
    "them with `lia shards`"
)

log = logging.getLogger(__name__)


def verified_file(shards: Path) -> Path:
    """Return where the hashes of a folder of shards are kept.

    Beside the folder: DVC hashes what is inside.
    """
    return shards.with_name(f".{shards.name}.verified.json")


def listed_files(split: Split, listing: SplitListing) -> dict[str, str]:
    """Return the hash of each file of a split, by its name in the folder of shards: tars first."""
    return (
        {f"{split}/{tar.name}": tar.sha256 for tar in listing.tars}
        | {f"{split}/{frames_name(tar.name)}": tar.frames_sha256 for tar in listing.tars}
        | {f"{split}/{INDEX_NAME}": listing.index_sha256}
    )


def verify_shards(shards: Path, split: Split) -> None:
    """Check the files of a split as `wrong_files` does.

    Raises:
        ValueError: a file is missing or is not the one of the manifest.
    """
    for reason in wrong_files(shards, split).values():
        raise ValueError(f"{reason}: {_REMEDY}")


def wrong_files(shards: Path, split: Split) -> dict[str, str]:
    """Return the files of a split that are missing, or not those of the manifest, by name with the reason.

    Processes that open the same shards wait for each other, so that one of them hashes. Where the results
    cannot be written, every opening hashes again.
    """
    return wrong_among(shards, listed_files(split, read_manifest(shards).split(split)))


def wrong_among(shards: Path, listed: Mapping[str, str]) -> dict[str, str]:
    """Return what `wrong_files` does of some files, which are given by name with their hashes."""
    found = hash_files(shards, listed)
    wrong = {}
    for name, sha256 in listed.items():
        if name not in found:
            wrong[name] = f"{shards / name} is missing, which the manifest lists"
        elif found[name] != sha256:
            wrong[name] = (
                f"{shards / name} has the sha256 {found[name][:12]}…, the manifest lists {sha256[:12]}…"
            )
    return wrong


def hash_files(shards: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of those of some files that exist; what is known of unchanged ones is not read."""
    cache = verified_file(shards)
    there = [name for name in names if (shards / name).is_file()]
    with _locked(cache):
        known = _read(cache)
        changed = [name for name in there if known.get(name, [])[:2] != _state(shards / name)]
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            hashes = pool.map(file_sha256, [shards / name for name in changed])
            found = known | {
                name: [*_state(shards / name), sha256] for name, sha256 in zip(changed, hashes, strict=True)
            }
        if found != known:
            _write(cache, found)
    return {name: found[name][2] for name in there}


def note_hashes(shards: Path, hashes: Mapping[str, str]) -> None:
    """Keep the hashes of all files of a folder that was just written, so that nobody reads them again."""
    cache = verified_file(shards)
    with _locked(cache):
        _write(cache, {name: [*_state(shards / name), sha256] for name, sha256 in hashes.items()})


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


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
