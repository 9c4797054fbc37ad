"""Clips on this machine as folders of PNG pictures, the layout of the first order motion model's recipe.

`[train|test/].../<clip>/0000000.png`. If a clip's name has a `#`, the part before it is its identity, as in
`id10280#NXjT3732Ekg#001093#001192.mp4`.
"""

from pathlib import Path

from preprocessing.sources.importer import (
    ImportedList,
    ImportedRow,
    Importer,
    local_row,
    require_rows,
)
from preprocessing.storage.natural_order import natural_order


def read_frame_folders(path: Path) -> ImportedList:
    """Return one row for every folder of pictures, sorted by name and number.

    Raises:
        ValueError: there are no pictures.
    """
    clips = sorted({file.parent for file in path.rglob("*.png")}, key=natural_order)
    return require_rows(path, [_read_clip(path, clip) for clip in clips])


def _read_clip(root: Path, clip: Path) -> ImportedRow:
    name, mark, _ = clip.name.partition("#")
    return local_row(root, clip, name if mark else None)


IMPORTER = Importer(read_frame_folders, takes_folder=True)
