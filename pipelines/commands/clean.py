"""`lia clean`: lists what no longer serves this project, and removes it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lia_model.checkpoints.directory import read_config
from lia_model.registry.run_sender import waiting_senders
from pipelines.process import live_record, record_path
from pipelines.project_paths import ProjectPaths
from preprocessing.storage.lease import is_held

JOURNAL = "mlflow"
SECONDS_PER_DAY = 86400


@dataclass(frozen=True)
class Prunable:
    """A folder that may go."""

    path: Path
    reason: str
    size_bytes: int

    def row(self, root: Path) -> tuple[str, str, str]:
        """Return its size, its path within the project where it lies there, and the reason."""
        path = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        return f"{self.size_bytes / 1e6:.1f} MB", str(path), self.reason


def survey(paths: ProjectPaths, current_run: str | None) -> list[Prunable]:
    """Find checkpoints of earlier runs and leftovers of Ray; nothing is changed.

    Args:
        paths: of the project.
        current_run: name of the run that the settings and shards identify, which stays; None if there are no
            shards.
    """
    found = [*_old_runs(paths, current_run), *_old_releases(paths), *_old_sessions(paths)]
    return [Prunable(path, reason, _size_bytes(path)) for path, reason in found]


def remove(prunables: list[Prunable], paths: ProjectPaths) -> None:
    """Remove what `survey` found, save runs that a process has taken up since."""
    for one in prunables:
        if not is_held(paths.lease(one.path.name)):
            shutil.rmtree(one.path, ignore_errors=True)


def _old_runs(paths: ProjectPaths, current_run: str | None) -> Iterator[tuple[Path, str]]:
    trained = _trained_run(paths)
    for folder in sorted((paths.runs / "train").glob("*/")):
        if folder.name == current_run or is_held(paths.lease(folder.name)):
            continue
        if waiting_senders([folder / JOURNAL]):
            # The next `lia train` sends it.
            continue
        days = (time.time() - folder.stat().st_mtime) / SECONDS_PER_DAY
        state = "trained checkpoints/final" if folder.name == trained else "another run"
        yield folder, f"checkpoints of {state}, {days:.0f} days old"


def _old_releases(paths: ProjectPaths) -> Iterator[tuple[Path, str]]:
    final = paths.checkpoints / "final"
    provenance = read_config(final).provenance if final.is_dir() else {}
    kept = {provenance.get("run_id"), provenance.get("run_name")}
    for folder in sorted((paths.runs / "released").glob("*/")):
        if folder.name not in kept:
            yield folder, "weights of an earlier run; MLflow keeps those that were released"


def _old_sessions(paths: ProjectPaths) -> Iterator[tuple[Path, str]]:
    if live_record(record_path(paths.services, "ray")) is not None:
        return
    for folder in sorted(paths.ray_home.glob("session_2*/")):
        if time.time() - folder.stat().st_mtime > SECONDS_PER_DAY:
            yield folder, "logs of a cluster that ended more than a day ago"


def _trained_run(paths: ProjectPaths) -> str | None:
    final = paths.checkpoints / "final"
    return read_config(final).provenance.get("run_name") if final.is_dir() else None


def _size_bytes(folder: Path) -> int:
    """Return what the files of a folder take, each counted once however many names it has."""
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            files[status.st_dev, status.st_ino] = status.st_size
    return sum(files.values())
