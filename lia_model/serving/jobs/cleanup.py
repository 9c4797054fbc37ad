"""Deletes what jobs leave behind: working files at once, results and rows when they expire.

A runner tidies up after its own jobs. What is left is of runners that died, of requests that were cut off,
and of clients that never fetched or deleted their results.
"""

import logging
import shutil
import threading
import time
from pathlib import Path

from lia_model.serving.database import DatabaseError
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.job import Job

logger = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Pause between two runs."""
ORPHAN_S = 3600.0
"""Age of a folder of uploads without a job, before which its request may still be running."""


def drop_uploads(job: Job) -> None:
    """Delete the uploads of a job; files of a batch belong to its owner."""
    if job.batch is None:
        job.order.source.unlink(missing_ok=True)
        job.order.driving.unlink(missing_ok=True)


class Cleanup:
    """Cleans up after the jobs of one store, in its own thread.

    Args:
        jobs: the store.
        media: folder with one folder of uploads and result per job; nothing else may be in it.
        keep_s: how long the rows of ended jobs and the results of uploads are kept. Results of a batch are
            never deleted, since its output folder is the user's own.
        max_stored_bytes: size of uploads and their results, beyond which the oldest results go sooner.
    """

    def __init__(self, jobs: JobStore, media: Path, keep_s: float, max_stored_bytes: int) -> None:
        self._jobs = jobs
        self._media = media
        self._keep_s = keep_s
        self._max_stored_bytes = max_stored_bytes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cleanup", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current run."""
        self._stopping.set()
        self._thread.join()

    def run_once(self) -> None:
        """Delete all that is left behind or expired by now.

        Raises:
            DatabaseError: the store cannot be read or written.
            OSError: a file cannot be deleted.
        """
        for job in self._jobs.uncleared():
            for folder in job.folders():
                _delete_folder(folder)
            drop_uploads(job)
            self._jobs.set_cleared(job.id)
        for job in self._jobs.expired(self._keep_s):
            self._remove(job)
        for job in self._jobs.beyond_quota(self._max_stored_bytes):
            logger.info("animation %s is removed, since the results exceed serve.max_stored_bytes", job.id)
            self._remove(job)
        self._delete_orphans()

    def _remove(self, job: Job) -> None:
        # The files first: a row without files is found again, files without a row only as orphans.
        if job.batch is None:
            _delete_folder(self._media / job.id)
        self._jobs.remove(job.id)

    def _delete_orphans(self) -> None:
        if not self._media.is_dir():
            return
        for folder in self._media.iterdir():
            if _age_s(folder) > ORPHAN_S and self._jobs.get(folder.name) is None:
                logger.info("folder %s belongs to no job and is deleted", folder)
                _delete_folder(folder)

    def _work(self) -> None:
        while True:
            try:
                self.run_once()
            except (DatabaseError, OSError) as error:
                logger.error("the clean-up failed and is tried again in %g s: %s", INTERVAL_S, error)
            if self._stopping.wait(INTERVAL_S):
                return


def _age_s(folder: Path) -> float:
    """Return the age of a folder in seconds; 0 if a request has deleted it meanwhile."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _delete_folder(folder: Path) -> None:
    """Delete a folder that may be gone already, or be deleted by a request meanwhile."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
