"""Reports checkpoints to Ray Train: training waits for a copy in memory, a thread writes and stores it.

Ray keeps the last checkpoints. Milestones, which stay longer, are further copies in folders of their own; on
a local disk they share their files with Ray's.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.fs
import ray.train
from ray.train import Checkpoint, CheckpointConsistencyMode, CheckpointUploadMode

from lia_model.checkpoints.directory import write_generator
from lia_model.checkpoints.file_hashes import write_hashes
from lia_model.settings import TrainSettings
from lia_model.training.cluster.checkpoint_validation import RELEASED, CheckpointValidation
from lia_model.training.cluster.leftovers import own_copy_prefix, remove_abandoned_copies
from lia_model.training.cluster.run_storage import MILESTONES
from lia_model.training.cluster.stored_folder import is_finished, upload_folder
from lia_model.training.state import Snapshot, TrainingState, take_snapshot, write_snapshot
from lia_model.training.tracking.run_logger import RunLogger
from preprocessing.storage.files import write_folder_atomically

STEP = "step"
"""Metric by which Ray orders the checkpoints."""


class CheckpointReporter:
    """Reports the checkpoints of one rank; rank 0 stores them."""

    def __init__(
        self,
        settings: TrainSettings,
        provenance: dict[str, Any],
        run_logger: RunLogger | None,
        validation: CheckpointValidation | None = None,
    ) -> None:
        self._validation = validation
        self._settings = settings
        self._provenance = provenance
        self._run_logger = run_logger
        # Typed as its base class, which has nothing.
        self._storage: Any = ray.train.get_context().get_storage()
        self._root = Path(self._storage.experiment_fs_path)
        self._is_stored = threading.Event()
        self._is_stored.set()
        if run_logger is not None:
            remove_abandoned_copies()

    def report(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """Report a checkpoint of `state`; every rank calls it at the same steps.

        It waits until the checkpoint before is stored, but not for this one, except after the last step. If
        storing fails, Ray stops the workers with the reason.

        Args:
            state: is free to change after the call.
            metrics: of this step.
        """
        told = {STEP: state.step, **metrics}
        if self._run_logger is None:
            ray.train.report(told, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
        else:
            # The journal has all steps that are not repeated after this checkpoint.
            self._run_logger.commit()
            self._is_stored.wait()
            self._is_stored.clear()
            store = functools.partial(self._store, take_snapshot(state))
            ray.train.report(
                told,
                # Only a name to Ray: `_store` has the content.
                Checkpoint(str(self._root), self._storage.storage_filesystem),
                checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
                checkpoint_upload_fn=store,
                delete_local_checkpoint_after_upload=False,
                validation=self._validation.task(state.step) if self._validation else False,
            )
        if state.step == self._settings.num_steps:
            # A checkpoint is kept only once the controller has committed it, which the last one waits for.
            ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)

    def _store(self, snapshot: Snapshot, _: Checkpoint, name: str) -> Checkpoint:
        try:
            with self._written(snapshot, name) as keep:
                if self._is_milestone(snapshot.step):
                    keep(f"{MILESTONES}/step-{snapshot.step:08d}")
            if self._run_logger is not None:
                self._run_logger.add_checkpoint(snapshot.step)
        finally:
            self._is_stored.set()
        return Checkpoint(str(self._root / name), self._storage.storage_filesystem)

    @contextmanager
    def _written(self, snapshot: Snapshot, name: str) -> Iterator[Callable[[str], None]]:
        """Write a checkpoint to the storage under `name`; yield a function that keeps it under another."""
        if self._is_local:
            with write_folder_atomically(self._root / name) as folder:
                self._write_files(snapshot, folder)
            yield lambda other: _link_folder(self._root / name, self._root / other)
            return
        with tempfile.TemporaryDirectory(prefix=own_copy_prefix()) as temporary:
            self._write_files(snapshot, Path(temporary))
            self._upload(Path(temporary), name)
            yield lambda other: self._upload(Path(temporary), other)

    def _write_files(self, snapshot: Snapshot, folder: Path) -> None:
        write_snapshot(snapshot, folder, self._provenance)
        released = folder / RELEASED
        released.mkdir()
        weights = snapshot.released_generator(self._settings.ema_decay)
        write_generator(released, snapshot.network, weights, self._provenance)
        write_hashes(folder)

    def _upload(self, folder: Path, name: str) -> None:
        """Copy a folder to the store, unless it is there already: a step may be repeated after a failure."""
        store, place = self._storage.storage_filesystem, (self._root / name).as_posix()
        if not is_finished(store, place):
            upload_folder(store, folder, place)

    @property
    def _is_local(self) -> bool:
        return isinstance(self._storage.storage_filesystem, pyarrow.fs.LocalFileSystem)

    def _is_milestone(self, step: int) -> bool:
        every_steps = self._settings.milestone_every_steps
        return every_steps > 0 and step % every_steps == 0


def _link_folder(folder: Path, target: Path) -> None:
    """Replace `target` by a folder with the same files, which take no further space."""
    with write_folder_atomically(target) as temporary:
        shutil.copytree(folder, temporary, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Not every file system links.
        shutil.copy2(source, target)
