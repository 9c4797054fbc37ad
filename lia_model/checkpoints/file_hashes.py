"""hashes.json of a training checkpoint: size and sha256 of every other file in it, also in its folders."""

from __future__ import annotations

import json
from pathlib import Path

from preprocessing.storage.files import file_sha256

HASHES = "hashes.json"


def write_hashes(directory: Path) -> None:
    """Write the hashes of all files in `directory`, the last one to be written there."""
    files = {
        str(path.relative_to(directory)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != HASHES
    }
    (directory / HASHES).write_text(json.dumps({"files": files}, indent=1) + "\n")


def verify_hashes(directory: Path) -> None:
    """Compare the files of a checkpoint with their hashes; an older checkpoint, without hashes, passes.

    Raises:
        ValueError: a file is missing, cut short or changed.
    """
    wrong = damaged_files(directory) if (directory / HASHES).is_file() else []
    if wrong:
        raise ValueError(
            f"{directory / wrong[0]} is not the file that training wrote ({len(wrong)} files differ from "
            f"{HASHES}): copy the checkpoint again, or go on from an earlier one"
        )


def damaged_files(directory: Path) -> list[str]:
    """Return the names of the files that differ from their hashes; the hashes' own if those are missing."""
    try:
        files = json.loads((directory / HASHES).read_text())["files"]
        return [name for name, facts in files.items() if not _is_as_written(directory / name, facts)]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return [HASHES]


def _is_as_written(path: Path, facts: dict[str, object]) -> bool:
    return path.is_file() and path.stat().st_size == facts["bytes"] and file_sha256(path) == facts["sha256"]
