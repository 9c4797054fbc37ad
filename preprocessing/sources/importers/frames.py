"""Clips that lie on this machine as folders of PNG pictures, as the first order motion model's recipe has it.

`[train|test/].../<clip>/0000000.png`: a folder named train or test says the split. A clip's name may begin
with its person or video and `#`, as in `id10280#NXjT3732Ekg#001093#001192.mp4`; these are then never parted.
"""

from pathlib import Path

from preprocessing.sources.importers.imported import ImportedRow, bad_rows, on_disk


def read_frames(path: Path) -> list[ImportedRow]:
    """Return one row for every folder of pictures, by their names.

    Raises:
        ValueError: there are none.
    """
    clips = sorted({file.parent for file in path.rglob("*.png")})
    if not clips:
        raise bad_rows(path, [])
    return [_read_clip(path, clip) for clip in clips]


def _read_clip(root: Path, clip: Path) -> ImportedRow:
    name, mark, _ = clip.name.partition("#")
    return on_disk(root, clip, name if mark else None)
