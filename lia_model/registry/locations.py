"""Where a project's MLflow store finds its files: absolute paths, which follow a moved or copied project.

Imports no MLflow, since every command checks this first and importing it takes seconds.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

EXPERIMENT = "lia"
"""Holds all runs of a project."""
_DEFAULT_EXPERIMENT, _DEFAULT_FOLDER = "Default", "mlruns/0"
"""What MLflow creates with the store, beside the store."""
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""Every column that holds locations; `models:/…` and object stores are no folders and stay as they are."""
_TIMEOUT_S = 30


def adopt_artifacts(store: Path, artifacts: Path) -> list[str]:
    """Point a store that came here with its project at the files that came with it.

    Args:
        store: MLflow's SQLite file in the project's folder; nothing is done if it is missing or a link.
        artifacts: the project's folder of artifacts, absolute.

    Returns:
        The former folders of the project, as URI or path; none if the store knew the present one.

    Raises:
        ValueError: the store has to be changed and cannot be.
    """
    if store.is_symlink() or not store.is_file():
        return []
    try:
        with closing(sqlite3.connect(store, timeout=_TIMEOUT_S, isolation_level=None)) as db:
            if not list(_moves(db, artifacts)):
                return []
            db.execute("BEGIN IMMEDIATE")
            # Read again: another command may have done it in the meantime.
            moves = list(_moves(db, artifacts))
            for former, present in moves:
                _replace_prefix(db, former, present)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise ValueError(
            f"got {store}, which came from another folder and cannot be changed ({error}): make it writable, "
            "or remove it to begin an empty one"
        ) from None
    return [former for former, _ in moves]


def _moves(db: sqlite3.Connection, artifacts: Path) -> Iterator[tuple[str, str]]:
    """Yield the project's former and present folder, in the store's notation, with a slash at the end."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return
    for name, folder in ((EXPERIMENT, artifacts.name), (_DEFAULT_EXPERIMENT, _DEFAULT_FOLDER)):
        rows = db.execute("SELECT artifact_location FROM experiments WHERE name = ?", (name,))
        for (location,) in rows.fetchall():
            former = (location or "").removesuffix(folder)
            root = artifacts.parent
            present = f"{root.as_uri() if former.startswith('file:') else root}/"
            if former not in (location, present) and former.startswith(("file:", "/")):
                yield former, present


def _replace_prefix(db: sqlite3.Connection, former: str, present: str) -> None:
    for table, column in _COLUMNS:
        if column not in {name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")}:
            continue
        db.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (present, len(former) + 1, len(former), former),
        )
