"""Videos on this machine, in folders by split and person, `[train|test/][<person>/].../<file>`."""

from pathlib import Path

from preprocessing.sources.importer import SPLIT_FOLDERS, ImportedRow, Importer, local_row, require_rows

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


def read_folder(path: Path) -> list[ImportedRow]:
    """Return one row for every video in the folder and below, sorted by name.

    Raises:
        ValueError: there are no videos.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return require_rows(path, [_read_file(path, file) for file in files], [])


def _read_file(root: Path, file: Path) -> ImportedRow:
    folders = list(file.relative_to(root).parts[:-1])
    if folders and folders[0] in SPLIT_FOLDERS:
        folders.pop(0)
    return local_row(root, file, folders[0] if folders else None)


IMPORTER = Importer(read_folder, takes_folder=True)
