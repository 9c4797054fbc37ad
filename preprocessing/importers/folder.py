"""Videos that lie on this machine already, cut or not, in folders by split and person if at all.

`[train|test/][<person>/].../<file>`: a folder named train or test says the split, the next one the person.
"""

from pathlib import Path

from preprocessing.importers.imported import ImportedRow, bad_rows

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


def read_folder(path: Path) -> list[ImportedRow]:
    """Return one row for every video in the folder and those below, by their names.

    Raises:
        ValueError: there are none.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise bad_rows(path, [])
    return [_read_file(path, file) for file in files]


def _read_file(root: Path, file: Path) -> ImportedRow:
    place = file.relative_to(root)
    folders = list(place.parts[:-1])
    split = folders.pop(0) if folders[:1] in (["train"], ["test"]) else "auto"
    return ImportedRow(
        place=str(place),
        url=file.resolve().as_uri(),
        start_s=None,
        end_s=None,
        box=None,
        frame_size=(0, 0),
        identity=folders[0] if folders else None,
        split=split,
    )
