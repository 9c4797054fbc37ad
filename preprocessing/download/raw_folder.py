"""The folder of verified videos, `<key>.<extension>` each, with a record, `<key>.json`, beside each.

Thanks to the record a rerun knows a video without network access. Files are received in a folder beside this
one and moved here when they are whole and verified.
"""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from preprocessing.ledger import Download
from preprocessing.storage.exchange import fetch_video, video_bundle
from preprocessing.storage.files import file_sha256, move_durably, write_atomically
from preprocessing.storage.object_store import Store

RECORD = TypeAdapter(Download)


def read_verified(raw: Path, key: str) -> Download | None:
    """Return the record of a video; None if it is missing or its size or sha256 is not the recorded one."""
    record = raw / f"{key}.json"
    if not record.is_file():
        return None
    known = RECORD.validate_json(record.read_bytes())
    path = raw / str(known.file)
    if not path.is_file() or path.stat().st_size != known.size_bytes or file_sha256(path) != known.sha256:
        return None
    return known


def find_verified(raw: Path, key: str, store: Store | None) -> Download | None:
    """Return the record of a video that the folder or the store holds, after copying it to the other one."""
    verified = read_verified(raw, key)
    if store is None:
        return verified
    if verified is None:
        fetch_video(store, key, raw)
        return read_verified(raw, key)
    upload(raw, key, verified, store)
    return verified


def upload(raw: Path, key: str, verified: Download, store: Store) -> None:
    """Copy a video and its record to the store, unless it has them.

    Raises:
        StoreError: the store cannot be written.
    """
    names = (str(verified.file), f"{key}.json")
    store.put(video_bundle(key), {name: raw / name for name in names})


def add_received(raw: Path, key: str, verified: Download) -> Download:
    """Move a verified video from the receiving folder to `raw` and return its record with its new name."""
    folder = receiving_folder(raw, key)
    received, record = folder / str(verified.file), folder / "record.json"
    verified = replace(verified, file=f"{key}{received.suffix}")
    record.write_bytes(RECORD.dump_json(verified, indent=1))
    raw.mkdir(parents=True, exist_ok=True)
    move_durably(received, raw / str(verified.file))
    # The record comes last: a file without one is downloaded again.
    move_durably(record, raw / f"{key}.json")
    return verified


def adopt_former(raw: Path, current: Mapping[str, str]) -> list[str]:
    """Rename verified videos from former to current keys and return their new names.

    Args:
        raw: the folder.
        current: the current key by the former one; a video that is stored under its current key stays.
    """
    adopted = []
    for former, key in sorted(current.items()):
        verified = None if (raw / f"{key}.json").is_file() else read_verified(raw, former)
        if verified is None:
            continue
        renamed = replace(verified, file=f"{key}{Path(str(verified.file)).suffix}")
        move_durably(raw / str(verified.file), raw / str(renamed.file))
        with write_atomically(raw / f"{key}.json") as partial:
            partial.write_bytes(RECORD.dump_json(renamed, indent=1))
        (raw / f"{former}.json").unlink()
        adopted.append(str(renamed.file))
    return adopted


def remove_stale(raw: Path, keys: Collection[str]) -> list[str]:
    """Remove the files of all sources but `keys` and return their names; partly received ones go unnamed."""
    removed = []
    for path in sorted(raw.iterdir()) if raw.is_dir() else ():
        if path.name.split(".")[0] not in keys:
            path.unlink()
            removed.append(path.name)
    receiving = receiving_root(raw)
    for path in receiving.iterdir() if receiving.is_dir() else ():
        if path.is_dir() and path.name not in keys:
            shutil.rmtree(path)
    return removed


def receiving_root(raw: Path) -> Path:
    """Return the folder beside `raw`, on its file system, for videos that are not verified yet."""
    return raw.with_name(f"{raw.name}.receiving")


def receiving_folder(raw: Path, key: str) -> Path:
    """Return the folder in which one video is received."""
    return receiving_root(raw) / key
