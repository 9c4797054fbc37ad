"""data/tombstones.csv: videos that were taken down and are never fetched again, by the sha1 of their address.

The file names nobody: it is in git for good, and neither an address nor a person should be.
"""

import re
from collections.abc import Collection
from datetime import date
from pathlib import Path

HEADER = "key,date"
_LINE = re.compile(r"([0-9a-f]{40}),\d{4}-\d{2}-\d{2}")


def read_tombstones(path: Path) -> set[str]:
    """Return the keys of all videos that were taken down.

    Raises:
        ValueError: the file is missing or has a bad line; what was taken down must not come back by mistake.
    """
    if not path.is_file():
        raise ValueError(
            f"got no {path}, which says what must not be fetched again;"
            f" at least its header {HEADER!r} is needed; "
            "bring it back with git"
        )
    header, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [""]
    if header != HEADER:
        raise ValueError(f"got {path} with the header {header!r}; {HEADER!r} is needed; correct it")
    keys = set()
    for number, line in enumerate(lines, 2):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(
                f"got line {number} of {path}: {line!r}; a sha1 in hex and a date, parted by a comma, are "
                "needed; correct it"
            )
        keys.add(found[1])
    return keys


def add_tombstones(path: Path, keys: Collection[str], today: date) -> None:
    """Add the keys that the file does not hold yet, at its end.

    Raises:
        ValueError: as `read_tombstones` does.
    """
    new = sorted(set(keys) - read_tombstones(path))
    text = path.read_text(encoding="utf-8-sig").rstrip("\n")
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("\n".join([text, *(f"{key},{today.isoformat()}" for key in new)]) + "\n")
    partial.replace(path)
