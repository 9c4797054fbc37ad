"""The folder of verified videos, `<key>.<extension>` each, with a record, `<key>.json`, beside each.

Thanks to the record a rerun knows a video without network access. Files are received in a folder beside this
one and moved here when they are whole and verified.
"""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from pydantic import TypeAdapter

from preprocessing.ledger import Download
from preprocessing.storage.exchange import fetch_video, video_bundle
from preprocessing.storage.files import file_sha256, move_durably, write_atomically
from preprocessing.storage.object_store import Store

RECORD = TypeAdapter(Download)


@dataclass
class RecipeCounts:
    """How the records of the folder relate to the current settings."""

    num_adopted: int = 0
    """Records without a recipe, which were given the current one."""
    num_other: int = 0
    """Records of other settings, whose videos are downloaded again."""


def compare_recipes(raw: Path, recipes: Mapping[str, str]) -> RecipeCounts:
    """Compare each record with the current recipe, by key, and write that into records without one."""
    counts = RecipeCounts()
    for key, recipe in recipes.items():
        known = read_record(raw, key)
        if known is not None and known.recipe is None:
            counts.num_adopted += 1
            write_record(raw, key, replace(known, recipe=recipe))
        elif known is not None and known.recipe != recipe:
            counts.num_other += 1
    return counts


def read_verified(raw: Path, key: str, recipe: str | None = None) -> Download | None:
    """Return the record of a video; None if it is missing or its size or sha256 is not the recorded one.

    With a `recipe`, a video of another one counts as missing.
    """
    known = read_record(raw, key)
    if known is None or not is_current(known, recipe):
        return None
    path = raw / str(known.file)
    if not path.is_file() or path.stat().st_size != known.size_bytes or file_sha256(path) != known.sha256:
        return None
    return known


def find_verified(raw: Path, key: str, recipe: str, store: Store | None) -> Download | None:
    """Return the record of a video that the folder or the store holds, after copying it to the other one."""
    verified = read_verified(raw, key, recipe)
    if store is None:
        return verified
    if verified is None:
        fetch_video(store, key, raw)
        return read_verified(raw, key, recipe)
    upload(raw, key, verified, store)
    return verified


def upload(raw: Path, key: str, verified: Download, store: Store) -> None:
    """Copy a video and its record to the store, unless it has them.

    Raises:
        StoreError: the store cannot be written.
    """
    names = (str(verified.file), f"{key}.json")
    store.put(video_bundle(key), {name: raw / name for name in names})


def add_received(raw: Path, key: str, verified: Download, recipe: str) -> Download:
    """Move a verified video from the receiving folder to `raw` and return its record with its new name.

    An earlier video of the source is replaced.
    """
    folder = receiving_folder(raw, key)
    received, record = folder / str(verified.file), folder / "record.json"
    verified = replace(verified, file=f"{key}{received.suffix}", recipe=recipe)
    record.write_bytes(RECORD.dump_json(verified, indent=1))
    raw.mkdir(parents=True, exist_ok=True)
    move_durably(received, raw / str(verified.file))
    # The record comes last: a file without one is downloaded again.
    move_durably(record, raw / f"{key}.json")
    for path in raw.glob(f"{key}.*"):
        if path.name not in (verified.file, f"{key}.json"):
            path.unlink()
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
        write_record(raw, key, renamed)
        (raw / f"{former}.json").unlink()
        adopted.append(str(renamed.file))
    return adopted


def open_receiving_folder(raw: Path, key: str, recipe: str) -> Path:
    """Return the folder in which one video is received, without parts that another recipe left there."""
    folder = receiving_folder(raw, key)
    tag = folder / "recipe"
    if folder.is_dir() and not (tag.is_file() and tag.read_text() == recipe):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tag.write_text(recipe)
    return folder


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


def read_record(raw: Path, key: str) -> Download | None:
    """Return the record of a video, wherever that is; None without one."""
    record = raw / f"{key}.json"
    return RECORD.validate_json(record.read_bytes()) if record.is_file() else None


def write_record(raw: Path, key: str, verified: Download) -> None:
    """Write the record of a video."""
    with write_atomically(raw / f"{key}.json") as partial:
        partial.write_bytes(RECORD.dump_json(verified, indent=1))


def is_current(known: Download | None, recipe: str | None) -> TypeGuard[Download]:
    """Return whether there is a record and it is of the recipe; None stands for any, also in the record."""
    return known is not None and (recipe is None or known.recipe in (None, recipe))


def receiving_root(raw: Path) -> Path:
    """Return the folder beside `raw`, on its file system, for videos that are not verified yet."""
    return raw.with_name(f"{raw.name}.receiving")


def receiving_folder(raw: Path, key: str) -> Path:
    """Return the folder in which one video is received."""
    return receiving_root(raw) / key
