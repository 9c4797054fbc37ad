"""data/tombstones.csv: keys of videos that were taken down and must never be downloaded again.

The file stays in git, so it holds neither URLs nor names.
"""

import re
from collections.abc import Collection
from datetime import date
from pathlib import Path

from preprocessing.storage.files import write_atomically

HEADER = "key,date"
_LINE = re.compile(r"([0-9a-f]{40}),\d{4}-\d{2}-\d{2}")


def read_tombstones(path: Path) -> set[str]:
    """Return the keys of all videos that were taken down.

    Raises:
        ValueError: the file is missing or has a bad line; to ignore it would bring videos back.
    """
    if not path.is_file():
        raise ValueError(
            f"got no {path}, the list of videos that must not be downloaded again; a file with the header "
            f"{HEADER!r} is needed; restore it with git"
        )
    header, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [""]
    if header != HEADER:
        raise ValueError(f"got {path} with the header {header!r}; {HEADER!r} is needed; correct it")
    keys = set()
    for number, line in enumerate(lines, 2):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(
                f"got line {number} of {path}: {line!r}; a sha1 in hex, a comma and a date are needed; "
                "correct it"
            )
        keys.add(found[1])
    return keys


def add_tombstones(path: Path, keys: Collection[str], today: date) -> None:
    """Append the keys that the file does not hold yet.

    Raises:
        ValueError: as `read_tombstones` does.
    """
    new = sorted(set(keys) - read_tombstones(path))
    text = path.read_text(encoding="utf-8-sig").rstrip("\n")
    with write_atomically(path) as partial:
        partial.write_text("\n".join([text, *(f"{key},{today.isoformat()}" for key in new)]) + "\n")
