"""A copy of the shards with all their tars, for programs that read no object store."""

import logging
import shutil
from pathlib import Path

from preprocessing.shards.file_hashes import listed_files, verify_shards
from preprocessing.shards.manifest import SPLITS, read_manifest
from preprocessing.shards.stored_shards import fetch_tar
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)


def copy_shards(shards: Path, store: Store | None, target: Path) -> None:
    """Make `target` the data set of `shards`, with tars from the store; those it has already are kept.

    Raises:
        ValueError: there are no shards, or there is no store.
        StoreError: the store cannot be read, or lacks a tar.
    """
    manifest = read_manifest(shards)
    if store is None:
        raise ValueError(f"LIA_STORE_URL is unset: set it to the store with the tars of {shards}")
    listed = {name for split in SPLITS for name in listed_files(split, manifest.split(split))}
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if str(path.relative_to(target)) not in listed:
            path.unlink()
    for split in SPLITS:
        for entry in manifest.split(split).tars:
            if not fetch_tar(store, entry, target / split):
                raise StoreError(f"the store has no whole {split}/{entry.name}: run `lia shards` again")
    for path in shards.rglob("*"):
        if path.suffix in (".npz", ".json", ".html"):
            (target / path.relative_to(shards)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(shards))
    for split in SPLITS:
        verify_shards(target, split)
    logger.info("%s holds the shards with all tars", target)
