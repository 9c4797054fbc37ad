"""Small pictures of what was left out of a source, for people: one zip file, which any program opens."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_pictures(path: Path, pictures: Mapping[str, Sequence[bytes]]) -> None:
    """Write JPEG files as `<key>/<number>.jpg`; equal pictures give equal bytes.

    Args:
        path: the zip file.
        pictures: the JPEG files of each thing that has some, by its key.
    """
    partial = path.with_name(f".{path.name}.partial")
    with zipfile.ZipFile(partial, "w") as file:
        for key, files in sorted(pictures.items()):
            for number, data in enumerate(files):
                # Of zip's first day, unless told otherwise.
                file.writestr(zipfile.ZipInfo(f"{key}/{number:04d}.jpg"), data)
    partial.replace(path)


def read_pictures(path: Path, key: str) -> list[bytes]:
    """Return the JPEG files of one key in order; none where there are none, or no such file."""
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as file:
        return [file.read(name) for name in sorted(file.namelist()) if name.startswith(f"{key}/")]
