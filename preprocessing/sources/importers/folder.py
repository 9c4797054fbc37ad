"""Videos that lie on this machine already, cut or not, in folders by split and person if at all.

`[train|test/][<person>/].../<file>`: a folder named train or test says the split, the next one the person.
"""

from pathlib import Path

from preprocessing.sources.importers.imported import SPLIT_FOLDERS, ImportedRow, bad_rows, on_disk

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
    folders = list(file.relative_to(root).parts[:-1])
    if folders and folders[0] in SPLIT_FOLDERS:
        folders.pop(0)
    return on_disk(root, file, folders[0] if folders else None)
