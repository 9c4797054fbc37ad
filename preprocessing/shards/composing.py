"""Tars that are made where only the object store is at hand: clips come from it, tars go to it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from preprocessing.clips.sample import KeptClip, PreparedClip
from preprocessing.clips.stored_result import RESULT_NAME, read_prepared
from preprocessing.shards.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    Split,
    TarEntry,
    read_content,
    read_manifest,
)
from preprocessing.shards.stored_shards import TAR, put_tar, stored_tar
from preprocessing.shards.writer import recipe_sha256, tar_name, write_tar
from preprocessing.storage.exchange import TARS, fetch_clips, tar_bundle
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import StoreError, patiently

_FOLDER_PREFIX = "lia-composing-"

Compose = Callable[[Sequence[Sequence[KeptClip]]], Sequence[TarEntry]]
"""Makes tars in the store from the clips of each; returns their entries in any order. See `compose_tar`."""


@dataclass(frozen=True)
class TarsInStore:
    """Makes the tars of a split in the store, those that it lacks; see `MakeTars`."""

    store: Store
    compose: Compose

    def __call__(
        self, split: Split, groups: Sequence[Sequence[KeptClip]], folder: Path, former_folder: Path
    ) -> list[TarEntry]:
        """Return the entries of the tars, which no folder gets."""
        recipes = [recipe_sha256(group) for group in groups]
        stored = set(patiently(partial(self.store.bundles, TARS), "the list of tars"))
        known = {
            recipe: entry
            for recipe, entry in _former_tars(former_folder, split).items()
            if tar_bundle(recipe) in stored
        }
        missing = [group for group, recipe in zip(groups, recipes, strict=True) if recipe not in known]
        known |= {entry.recipe_sha256: entry for entry in self.compose(missing)}
        return [
            known[recipe].model_copy(update={"name": tar_name(number)})
            for number, recipe in enumerate(recipes)
        ]


def compose_tar(store: Store, clips: Sequence[KeptClip]) -> TarEntry:
    """Return the entry of the tar of some clips, made of the clips in the store if that does not hold it.

    Raises:
        StoreError: the store cannot be read or written, or lacks a clip.
    """
    found = stored_tar(store, recipe_sha256(clips))
    if found is not None:
        return found
    with held_folder(_FOLDER_PREFIX) as folder:
        entry = write_tar(clips, folder / TAR, partial(_read_stored_clips, store, folder / "clips"))
        put_tar(store, entry, folder)
    return entry


def _former_tars(folder: Path, split: Split) -> dict[str, TarEntry]:
    is_there = (folder / MANIFEST_NAME).is_file()
    if not is_there or read_content(folder).get("format_version") != FORMAT_VERSION:
        return {}
    return {entry.recipe_sha256: entry for entry in read_manifest(folder).split(split).tars}


def _read_stored_clips(store: Store, folder: Path, clips: Sequence[KeptClip]) -> Iterator[PreparedClip]:
    """Yield whole clips with what was assigned to them; the files of one source at a time are in `folder`."""
    for row_key, members in groupby(clips, key=lambda clip: clip.folder.name):
        place = folder / row_key
        wanted = list(members)
        _fetch(store, place, {RESULT_NAME})
        stored = read_prepared(place)
        if any(clip.key not in stored or stored[clip.key].kept().content != clip.content for clip in wanted):
            raise StoreError(
                f"the clips of {wanted[0].url} in the store have changed since this run began: run `lia "
                "shards` again, once at a time"
            )
        chosen = [stored[clip.key] for clip in wanted]
        files = (file for clip in chosen for file in (clip.file, *clip.member_files().values()))
        _fetch(store, place, {file.name for file in files})
        for clip in wanted:
            yield stored[clip.key].assigned(clip)
        shutil.rmtree(place)


def _fetch(store: Store, place: Path, names: set[str]) -> None:
    get = partial(fetch_clips, store, place.name, place / "unused", place, names)
    if not patiently(get, "clips") or not all((place / name).is_file() for name in names):
        raise StoreError(
            f"the store has no whole clips of the source {place.name}: run `lia shards` again, which makes "
            "them again"
        )
