"""Shards in the object store: each tar is a bundle named by what it is made from, the rest is one bundle.

A tar never changes under its name, and another number in the data set is no other name. So tars are stored by
whoever makes them, and the list of the data set, replaced last, decides which of them belong to it.
"""

import json
import shutil
from functools import partial
from pathlib import Path

from preprocessing.shards.frame_index import frames_name
from preprocessing.shards.manifest import MANIFEST_NAME, SPLITS, Manifest, TarEntry, read_manifest
from preprocessing.storage.exchange import SHARDS_BUNDLE, TARS, tar_bundle
from preprocessing.storage.files import write_folder_atomically
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import patiently

TAR = "shard.tar"
FRAMES = frames_name(TAR)
_ENTRY = "entry.json"
_FOLDER_PREFIX = "lia-tar-"


def put_tar(store: Store, entry: TarEntry, folder: Path) -> None:
    """Store a tar and the file beside it.

    Args:
        store: written to.
        entry: of the tar; its name is that of the file.
        folder: holds both files.

    Raises:
        StoreError: the store cannot be written.
    """
    with held_folder(_FOLDER_PREFIX) as place:
        record = place / _ENTRY
        record.write_text(entry.model_copy(update={"name": TAR}).model_dump_json())
        files = {TAR: folder / entry.name, FRAMES: folder / frames_name(entry.name), _ENTRY: record}
        patiently(partial(store.put, tar_bundle(entry.recipe_sha256), files), f"the tar {entry.name}")


def stored_tar(store: Store, recipe_sha256: str) -> TarEntry | None:
    """Return the entry of a tar that the store holds whole, named `TAR`; None if it does not.

    Raises:
        StoreError: the store cannot be read.
    """
    with held_folder(_FOLDER_PREFIX) as place:
        get = partial(store.get, tar_bundle(recipe_sha256), lambda name: place / name, {_ENTRY})
        if not patiently(get, "a tar's entry"):
            return None
        return TarEntry(**json.loads((place / _ENTRY).read_text()))


def fetch_tar(store: Store, entry: TarEntry, folder: Path) -> bool:
    """Fetch a tar of a data set and the file beside it into a folder; return whether the store has both.

    Raises:
        StoreError: the store cannot be read.
    """
    names = {TAR: entry.name, FRAMES: frames_name(entry.name)}
    get = partial(store.get, tar_bundle(entry.recipe_sha256), lambda name: folder / names[name], names)
    return patiently(get, f"the tar {entry.name}")


def store_shards(store: Store, shards: Path) -> None:
    """Make the store hold a folder of shards, whose tars may be in the store already, and no other tars.

    Raises:
        StoreError: the store cannot be written.
    """
    manifest = read_manifest(shards)
    stored = set(patiently(partial(store.bundles, TARS), "the list of tars"))
    for split in SPLITS:
        for entry in manifest.split(split).tars:
            if tar_bundle(entry.recipe_sha256) not in stored:
                put_tar(store, entry, shards / split)
    files = {str(path.relative_to(shards)): path for path in shards.rglob("*") if path.is_file()}
    tars = {f"{split}/{name}" for split in SPLITS for name in _tar_files(manifest.split(split).tars)}
    listed = {name: path for name, path in files.items() if name not in tars}
    patiently(partial(store.put, SHARDS_BUNDLE, listed), "the list of shards")
    for bundle in stored - set(bundles_by_tar(manifest).values()):
        patiently(partial(store.remove, bundle), "a former tar")


def fetch_listing(store: Store, shards: Path) -> bool:
    """Fetch manifest, indices and contact sheet into a new folder; return whether the store has them.

    Raises:
        StoreError: the store cannot be read.
    """
    names = patiently(partial(store.listed, SHARDS_BUNDLE), "the list of shards").keys()
    if MANIFEST_NAME not in names:
        return False
    # An earlier version kept the tars there too.
    wanted = {name for name in names if not name.endswith((".tar", ".npy"))}
    with write_folder_atomically(shards) as folder:
        get = partial(store.get, SHARDS_BUNDLE, lambda name: folder / name, wanted)
        if patiently(get, "the list of shards"):
            return True
    shutil.rmtree(shards)
    return False


def bundles_by_tar(manifest: Manifest) -> dict[str, str]:
    """Return the bundle of each tar of a data set by the tar's name, such as train/00000.tar."""
    return {
        f"{split}/{entry.name}": tar_bundle(entry.recipe_sha256)
        for split in SPLITS
        for entry in manifest.split(split).tars
    }


def _tar_files(tars: list[TarEntry]) -> set[str]:
    return {name for entry in tars for name in (entry.name, frames_name(entry.name))}
