"""Videos on this machine, in folders by split and person, `[train|test/][<person>/].../<file>`."""

from pathlib import Path

from preprocessing.sources.importer import (
    SPLIT_FOLDERS,
    ImportedList,
    ImportedRow,
    Importer,
    local_row,
    require_rows,
)

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


def read_folder(path: Path) -> ImportedList:
    """Return one row for every video in the folder and below, sorted by name, and the other files.

    Raises:
        ValueError: there are no videos.
    """
    rows, skipped = [], []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        problem = _why_skipped(file)
        if problem is None:
            rows.append(_read_file(path, file))
        else:
            skipped.append(f"{file.relative_to(path)}: {problem}")
    return require_rows(path, rows, skipped=skipped)


def _why_skipped(file: Path) -> str | None:
    if file.suffix.lower() not in SUFFIXES:
        return f"no video by its name; {', '.join(SUFFIXES)} are read"
    return None if file.stat().st_size else "empty"


def _read_file(root: Path, file: Path) -> ImportedRow:
    folders = list(file.relative_to(root).parts[:-1])
    if folders and folders[0] in SPLIT_FOLDERS:
        folders.pop(0)
    return local_row(root, file, folders[0] if folders else None)


IMPORTER = Importer(read_folder, takes_folder=True)
