"""Bundles that machines exchange through the object store: a video, a source's clips, a tar, the shards."""

from collections.abc import Container
from collections.abc import Set as AbstractSet
from pathlib import Path

from preprocessing.storage.object_store import Store

SHARDS_BUNDLE = "shards"
"""Holds manifest, indices and contact sheet; each tar is a bundle of its own, see `tar_bundle`."""
TARS = "tars"
"""Folder of the tars' bundles."""
SIGHTINGS = "detections.npz"
"""Name of a source's sightings in the bundle of its clips."""
VIDEOS = "raw"
"""Folder of the videos' bundles."""
CLIPS = "clips"
"""Folder of the bundles of clips."""


def video_bundle(key: str) -> str:
    """Return the name of the bundle that holds a source's video and the record of its download."""
    return f"{VIDEOS}/{key}"


def clips_bundle(row_key: str) -> str:
    """Return the name of the bundle that holds a source's sightings and clips."""
    return f"{CLIPS}/{row_key}"


def tar_bundle(recipe_sha256: str) -> str:
    """Return the name of the bundle that holds a tar of shards, by the hash of what it is made from."""
    return f"{TARS}/{recipe_sha256}"


def bundles_of_sources(store: Store, keys: AbstractSet[str]) -> list[str]:
    """Return the names of the store's bundles that hold the sources' videos, sightings or clips.

    Args:
        store: read from here.
        keys: of the sources; every part of such a source counts.

    Raises:
        StoreError: the store cannot be read.
    """
    # The key of a part begins with its source's: KEY-whole, or KEY-HASH.
    return [
        f"{folder}/{name}"
        for folder in (VIDEOS, CLIPS)
        for name in store.names(folder)
        if name.split("-")[0] in keys
    ]


def prefixes_of_sources(keys: AbstractSet[str]) -> list[str]:
    """Return what the names of all files begin with that the store may hold, or has held, of the sources.

    The shards count too, since an old version of them may hold what the current one lacks.
    """
    own = (f"{folder}/{key}" for folder in (VIDEOS, CLIPS) for key in sorted(keys))
    return [*own, f"{SHARDS_BUNDLE}/", f"{TARS}/"]


def fetch_video(store: Store, key: str, raw: Path) -> bool:
    """Fetch a source's video and its record into the folder `raw`; return whether the store has them.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.get(video_bundle(key), lambda name: raw / name)


def fetch_record(store: Store, key: str, folder: Path) -> bool:
    """Fetch the record alone of a source's video into `folder`; return whether the store has the video.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.get(video_bundle(key), lambda name: folder / name, only=(f"{key}.json",))


def fetch_clips(
    store: Store, row_key: str, sightings_file: Path, folder: Path, only: Container[str] | None = None
) -> bool:
    """Fetch a source's sightings and clips; return whether the store has them.

    Args:
        store: read from here.
        row_key: names the source.
        sightings_file: where the sightings belong.
        folder: where the clips belong.
        only: names of files that are wanted, if the store has them; None for all.

    Raises:
        StoreError: the store cannot be read.
    """
    return store.get(
        clips_bundle(row_key), lambda name: sightings_file if name == SIGHTINGS else folder / name, only
    )


def upload_clips(store: Store, row_key: str, sightings_file: Path, folder: Path) -> None:
    """Store a source's clips and, if it has any, its sightings; arguments as for `fetch_clips`.

    Raises:
        StoreError: the store cannot be written.
    """
    files = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    if sightings_file.is_file():
        files[SIGHTINGS] = sightings_file
    store.put(clips_bundle(row_key), files)
