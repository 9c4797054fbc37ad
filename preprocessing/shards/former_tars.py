"""Tars of the shards that are about to be replaced: those that stay the same are linked, not written."""

import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from preprocessing.shards.file_hashes import hash_files, listed_files
from preprocessing.shards.frame_index import frames_name
from preprocessing.shards.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    Split,
    TarEntry,
    read_content,
    read_manifest,
)

_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)


class FormerTars:
    """The tars of one split by what they were made from; none if there are no shards of this version.

    Whether they are still as they were written is known by size and time of change; those that changed since
    they were last hashed are read.

    Args:
        shards: the folder of shards.
        split: which split.
        recipes: hashes of the recipes of the tars that are wanted.
    """

    def __init__(self, shards: Path, split: Split, recipes: Collection[str]) -> None:
        """Find the wanted ones.

        Raises:
            ValueError: the manifest is damaged.
        """
        self._folder = shards / split
        self._by_recipe: dict[str, TarEntry] = {}
        is_there = (shards / MANIFEST_NAME).is_file()
        if not is_there or read_content(shards).get("format_version") != FORMAT_VERSION:
            return
        listing = read_manifest(shards).split(split)
        wanted = set(recipes)
        tars = [tar for tar in listing.tars if tar.recipe_sha256 in wanted]
        listed = listed_files(split, listing.model_copy(update={"tars": tars}))
        found = hash_files(shards, listed)
        self._by_recipe = {
            tar.recipe_sha256: tar
            for tar in tars
            if all(
                found.get(f"{split}/{name}") == listed[f"{split}/{name}"]
                for name in (tar.name, frames_name(tar.name))
            )
        }

    def link(self, recipe_sha256: str, folder: Path, name: str) -> TarEntry | None:
        """Make `name` in `folder` the tar of a recipe, and the file beside it, if they are here undamaged.

        Returns:
            The entry of the tar; None if there is none.
        """
        entry = self._by_recipe.get(recipe_sha256)
        if entry is None:
            return None
        _link(self._folder / entry.name, folder / name)
        _link(self._folder / frames_name(entry.name), folder / frames_name(name))
        return entry.model_copy(update={"name": name})


def _link(former: Path, target: Path) -> None:
    # DVC may have put a symbolic link there.
    former = former.resolve()
    try:
        os.link(former, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(former, target)
