"""Keeps the best generator of a run where the run's checkpoints are: in a folder or in an object store."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lia_model.checkpoints.best import BEST, Validated, forget_best, keep_if_best
from lia_model.networks.generator import Generator
from lia_model.training.cluster.run_storage import RunStorage


def keep_in_storage(
    storage: RunStorage, generator: Generator, provenance: dict[str, Any], validated: Validated
) -> None:
    """Store a generator as the best of its run if it is."""
    if storage.directory is not None:
        keep_if_best(storage.directory, generator, provenance, validated)
        return
    from pyarrow.fs import copy_files

    with TemporaryDirectory() as folder:
        fetch_best(storage, Path(folder))
        if keep_if_best(Path(folder), generator, provenance, validated):
            files, root = storage.open()
            place = f"{root}/{storage.name}/{BEST}"
            files.create_dir(place)
            copy_files(str(Path(folder) / BEST), place, destination_filesystem=files)


def fetch_best(storage: RunStorage, root: Path) -> None:
    """Copy the best generator from an object store to `root`; nothing happens for a folder or without one."""
    if storage.directory is not None:
        return
    from pyarrow.fs import FileType, copy_files

    files, place = storage.open()
    stored = f"{place}/{storage.name}/{BEST}"
    forget_best(root)
    if files.get_file_info(f"{stored}/config.json").type == FileType.File:
        (root / BEST).mkdir(parents=True)
        copy_files(stored, str(root / BEST), source_filesystem=files)


def forget_of_earlier_run(storage: RunStorage) -> None:
    """Remove the best generator from the folder of a run that has no checkpoint."""
    if storage.directory is not None and not any(storage.directory.glob("checkpoint_*")):
        forget_best(storage.directory)
