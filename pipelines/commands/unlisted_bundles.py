"""What the object store has of videos, parts and tars that this project no longer lists; reads only.

Nothing in a store says whose a bundle is, and another project's would look unlisted here. So nothing is found
unless the store's shards are the very ones of this project, and nothing that changed lately, since a run
elsewhere, with another list, may be at work on it. What was taken down is left to `lia forget`, which removes
old versions too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.project_paths import ProjectPaths
from preprocessing.ledger import iterate_sources
from preprocessing.shards.manifest import MANIFEST_NAME, read_manifest
from preprocessing.shards.stored_shards import bundles_by_tar
from preprocessing.sources.former_keys import KEY_LENGTH, match_former_keys, stored_keys
from preprocessing.sources.source import Source
from preprocessing.sources.source_list import read_sources
from preprocessing.sources.tombstones import read_tombstones
from preprocessing.storage.exchange import CLIPS, SHARDS_BUNDLE, TARS, VIDEOS
from preprocessing.storage.files import file_sha256
from preprocessing.storage.object_store import Store

MIN_AGE_DAYS = 30
"""What the store got since then stays."""
NAMES = {
    VIDEOS: re.compile(r"[0-9a-f]{40}"),
    CLIPS: re.compile(r"[0-9a-f]{40}-(whole|[0-9a-f]{8})"),
    TARS: re.compile(r"[0-9a-f]{64}"),
}
"""How our bundles are named, by folder; whatever else lies there is somebody's."""


@dataclass(frozen=True)
class StoredBundle:
    """One bundle of an object store."""

    store_url: str
    name: str

    def __str__(self) -> str:
        """Return its address for people."""
        return f"{self.store_url}/{self.name}"

    def remove(self) -> None:
        """Remove it; old versions in a versioned bucket stay.

        Raises:
            StoreError: the store cannot be written.
        """
        Store(self.store_url).remove(self.name)


def find_unlisted(
    store_url: str, paths: ProjectPaths, source_list: Path
) -> Iterator[tuple[StoredBundle, str, int]]:
    """Yield each such bundle with the reason why it is not needed and its size in bytes.

    Args:
        store_url: of the store.
        paths: of the project.
        source_list: the list of sources.

    Raises:
        ValueError: the store's shards are not those of the project, or the list has bad rows.
        StoreError: the store cannot be read.
    """
    store = Store(store_url)
    _require_own_shards(store, store_url, paths.shards)
    needed = _needed(paths, source_list)
    newest = datetime.now(UTC) - timedelta(days=MIN_AGE_DAYS)
    for folder in (VIDEOS, CLIPS, TARS):
        sizes = store.sizes(folder)
        keys = {_key_of(name) for name in sizes} - needed.keys
        former = match_former_keys(keys, needed.sources).keys()
        for name, size in sorted(sizes.items()):
            reason = None if _key_of(name) in former else _reason(name, needed)
            if reason is None or (changed := store.changed(name)) > newest:
                continue
            yield StoredBundle(store_url, name), f"{reason}; stored on {changed:%Y-%m-%d}", size


@dataclass(frozen=True)
class _Needed:
    """What the project lists, has here or has taken down."""

    sources: list[Source]
    keys: set[str]
    row_keys: set[str]
    tars: set[str]
    taken_down: set[str]


def _needed(paths: ProjectPaths, source_list: Path) -> _Needed:
    ledger = paths.source_ledger
    known = [*read_sources(source_list), *(iterate_sources(ledger) if ledger.is_file() else ())]
    here = (stored_keys(folder) for folder in (paths.raw, paths.tracks, paths.clips))
    parts = (path.stem for folder in (paths.tracks, paths.clips) for path in folder.glob("*"))
    return _Needed(
        sources=known,
        keys={source.key for source in known}.union(*here),
        row_keys={source.row_key for source in known}.union(parts),
        tars=set(bundles_by_tar(read_manifest(paths.shards)).values()),
        taken_down=read_tombstones(paths.tombstones),
    )


def _reason(name: str, needed: _Needed) -> str | None:
    """Return why a bundle is not needed; None if it is."""
    folder, _, own = name.partition("/")
    if not NAMES[folder].fullmatch(own):
        return None
    if folder == TARS:
        return None if name in needed.tars else "a tar that the manifest does not list"
    if _key_of(name) in needed.taken_down:
        return None
    if _key_of(name) not in needed.keys:
        return f"{'a video' if folder == VIDEOS else 'clips of a video'} that is not listed"
    if folder == CLIPS and own not in needed.row_keys:
        return "clips of a part that is not listed"
    return None


def _key_of(name: str) -> str:
    return name.partition("/")[2][:KEY_LENGTH]


def _require_own_shards(store: Store, store_url: str, shards: Path) -> None:
    manifest = shards / MANIFEST_NAME
    own = file_sha256(manifest) if manifest.is_file() else None
    if own is None or store.listed(SHARDS_BUNDLE).get(MANIFEST_NAME) != own:
        raise ValueError(
            f"got the store {store_url}, whose shards are not those of {shards}, so what is not listed here "
            "may be needed elsewhere; --store needs a store that this project alone uses; run `lia shards` "
            "with it first"
        )
