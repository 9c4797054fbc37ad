"""`lia clean`: lists what no longer serves this project, and removes it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lia_model.checkpoints.directory import read_config
from lia_model.registry.run_sender import waiting_senders
from lia_model.training.cluster.run_storage import RunStorage
from pipelines.commands.unlisted_bundles import StoredBundle, find_unlisted
from pipelines.process import live_record, record_path
from pipelines.project_paths import ProjectPaths
from preprocessing.storage.lease import is_held

JOURNAL = "mlflow"
SECONDS_PER_DAY = 86400


@dataclass(frozen=True)
class Prunable:
    """A folder or a bundle that may go."""

    place: Path | RunStorage | StoredBundle
    """On this machine, or in an object store."""
    reason: str
    size_bytes: int

    def row(self, root: Path) -> tuple[str, str, str]:
        """Return its size, its path within the project where it lies there, and the reason."""
        place = self.place
        if isinstance(place, Path) and place.is_relative_to(root):
            place = place.relative_to(root)
        return f"{self.size_bytes / 1e6:.1f} MB", str(place), self.reason


def survey(paths: ProjectPaths, current_run: str | None, storage_url: str | None) -> list[Prunable]:
    """Find checkpoints of earlier runs and leftovers of Ray; nothing is changed.

    Args:
        paths: of the project.
        current_run: name of the run that the settings and shards identify, which stays; None if there are no
            shards.
        storage_url: object store of the runs' checkpoints. Others may train there too: only runs that this
            project started are found in it.
    """
    runs = list(_old_runs(paths, current_run))
    # First, since a run without its folder here would not be found there any more.
    stored = [] if storage_url is None else [
        Prunable(place, reason, size)
        for folder, reason in runs
        if (size := (place := RunStorage(storage_url, folder.name)).size_bytes())
    ]  # fmt: skip
    found = [*runs, *_old_releases(paths), *_old_sessions(paths)]
    return [*stored, *(Prunable(path, reason, _size_bytes(path)) for path, reason in found)]


def survey_store(store_url: str | None, paths: ProjectPaths, source_list: Path) -> list[Prunable]:
    """Find what the object store has of videos, parts and tars that are not listed; nothing is changed.

    Raises:
        ValueError: there is no store, its shards are not those of the project, or the list has bad rows.
        StoreError: the store cannot be read.
    """
    if store_url is None:
        raise ValueError(
            "got --store, but no store is set; set LIA_STORE_URL to the one that this project alone uses"
        )
    return [Prunable(*one) for one in find_unlisted(store_url, paths, source_list)]


def remove(prunables: list[Prunable], paths: ProjectPaths) -> None:
    """Remove what `survey` found, save runs that a process has taken up since."""
    for place in (one.place for one in prunables):
        if isinstance(place, StoredBundle):
            place.remove()
        elif is_held(paths.lease(place.name)):
            continue
        elif isinstance(place, RunStorage):
            place.remove()
        else:
            shutil.rmtree(place, ignore_errors=True)


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
