"""Videos that lie in the object store alone; the folder of raw videos keeps their records, `<key>.json`.

So it is where the workers of a cluster download: a video is known by its record and the store's list, and no
byte of it is fetched.
"""

from collections.abc import Mapping
from pathlib import Path

from preprocessing.download.records.raw_folder import (
    adopt_former,
    is_current,
    read_record,
    read_verified,
    upload,
    write_record,
)
from preprocessing.ledger import Download
from preprocessing.storage.exchange import fetch_record, fetch_video, video_bundle
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store

_FOLDER_PREFIX = "lia-records-"


def find_stored(raw: Path, key: str, recipe: str, store: Store) -> Download | None:
    """Return the record of a video of this recipe that the store holds, and keep it in `raw`.

    A verified video in `raw` itself is moved to the store.

    Raises:
        StoreError: the store cannot be read or written.
    """
    known = read_record(raw, key)
    local = (
        None if known is None or not (raw / str(known.file)).is_file() else read_verified(raw, key, recipe)
    )
    if local is not None:
        move_to_store(raw, key, local, store)
        return local
    if is_current(known, recipe) and _is_stored(known, key, store):
        return known
    with held_folder(_FOLDER_PREFIX) as folder:
        known = read_record(folder, key) if fetch_record(store, key, folder) else None
    if not is_current(known, recipe) or not _is_stored(known, key, store):
        return None
    keep_record(raw, key, known)
    return known


def move_to_store(raw: Path, key: str, verified: Download, store: Store) -> None:
    """Copy a video and its record to the store and keep the record alone.

    Raises:
        StoreError: the store cannot be written.
    """
    upload(raw, key, verified, store)
    (raw / str(verified.file)).unlink()


def keep_record(raw: Path, key: str, verified: Download) -> None:
    """Write the record of a video that the store holds; what else `raw` has of the source is removed."""
    write_record(raw, key, verified)
    for path in raw.glob(f"{key}.*"):
        if path.name != f"{key}.json":
            path.unlink()


def adopt_stored(raw: Path, current: Mapping[str, str], store: Store) -> list[str]:
    """Rename videos of the store and their records from former to current keys; return their new names.

    Args:
        raw: holds the records.
        current: the current key by the former one; a video that is stored under its current key stays.
        store: holds the videos.

    Raises:
        StoreError: the store cannot be read or written.
    """
    adopted = []
    for former, key in sorted(current.items()):
        known = None if (raw / f"{key}.json").is_file() else read_record(raw, former)
        if known is None or not _is_stored(known, former, store):
            continue
        with held_folder(_FOLDER_PREFIX) as folder:
            fetch_video(store, former, folder)
            names = adopt_former(folder, {former: key})
            renamed = read_record(folder, key)
            if renamed is None:
                continue
            upload(folder, key, renamed, store)
        keep_record(raw, key, renamed)
        (raw / f"{former}.json").unlink()
        store.remove(video_bundle(former))
        adopted += names
    return adopted


def _is_stored(known: Download | None, key: str, store: Store) -> bool:
    """Return whether the store lists the very file of a record."""
    return known is not None and store.listed(video_bundle(key)).get(str(known.file)) == known.sha256
