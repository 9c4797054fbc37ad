"""Takes over what earlier versions stored when each spelling of a URL had a key of its own."""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from preprocessing.sources.source import Source, former_keys, source_key

KEY_LENGTH = 40
"""Of a sha1 in hex; the names of all that is stored of a video begin with its key."""


def match_former_keys(keys: AbstractSet[str], sources: Iterable[Source]) -> dict[str, str]:
    """Return the current key of each of `keys` that formerly named one of the sources.

    Args:
        keys: of what is stored, or was taken down.
        sources: listed ones, and those of an older ledger with their keys of that time.
    """
    current: dict[str, str] = {}
    if not keys:
        return current
    done: set[str] = set()
    for source in sources:
        if source.url in done:
            continue
        done.add(source.url)
        key = source_key(source.url)
        for former in ({source.key} | former_keys(source.url)) & keys - {key}:
            current[former] = key
    return current


def stored_keys(folder: Path) -> set[str]:
    """Return the keys with which the names in a folder begin."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return {name[:KEY_LENGTH] for name in names}


def rename_stored(folder: Path, current: Mapping[str, str]) -> None:
    """Rename files and folders, and the files in these, from former to current keys; existing ones are kept.

    Args:
        folder: holds what is named after a video, such as data/tracks.
        current: the current key by the former one.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        # What a folder holds goes first, so that a rerun completes an interrupted renaming.
        for inner in (*(path.iterdir() if path.is_dir() else ()), path):
            former, rest = inner.name[:KEY_LENGTH], inner.name[KEY_LENGTH:]
            target = inner.with_name(f"{current.get(former, former)}{rest}")
            if not target.exists():
                inner.rename(target)


def replace_former(keys: Collection[str], current: Mapping[str, str]) -> set[str]:
    """Return the keys together with the current ones of those that are former keys."""
    return set(keys) | {current[key] for key in keys if key in current}
