"""Thumbnails of rejected candidates, one zip file per source, which any program opens."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from preprocessing.storage.files import write_atomically


def write_thumbnails(path: Path, thumbnails: Mapping[str, Sequence[bytes]]) -> None:
    """Write JPEG files as `<key>/<number>.jpg`; equal thumbnails give equal bytes.

    Args:
        path: the zip file.
        thumbnails: JPEG files of each candidate, by its key.
    """
    with write_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for key, images in sorted(thumbnails.items()):
            for number, data in enumerate(images):
                # ZipInfo defaults to the zip format's first day; `writestr` with a plain name uses the clock.
                file.writestr(zipfile.ZipInfo(f"{key}/{number:04d}.jpg"), data)


def read_thumbnails(path: Path, key: str) -> list[bytes]:
    """Return the JPEG files of one key in order; empty if it has none or the file is missing."""
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as file:
        return [file.read(name) for name in sorted(file.namelist()) if name.startswith(f"{key}/")]
