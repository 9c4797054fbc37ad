"""Deletes what jobs leave behind: working files at once, results and rows when they expire.

A runner tidies up after its own jobs. What is left is of runners that died, of requests that were cut off,
and of clients that never fetched or deleted their results.
"""

import logging
import threading
import time
from pathlib import Path

from lia_model.serving.database import DatabaseError
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.job import Job
from lia_model.serving.jobs.media import JobMedia, drop_folder
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Pause between two runs."""
ORPHAN_S = 3600.0
"""Age of uploads without a job, before which their request may still be running."""


class Cleanup:
    """Cleans up after the jobs of one store, in its own thread.

    Args:
        jobs: the store.
        media: uploads and their results.
        keep_s: how long the rows of ended jobs and the results of uploads are kept. Results of a batch are
            never deleted, since its output folder is the user's own.
        max_stored_bytes: size of uploads and their results, beyond which the oldest results go sooner.
    """

    def __init__(self, jobs: JobStore, media: JobMedia, keep_s: float, max_stored_bytes: int) -> None:
        self._jobs = jobs
        self._media = media
        self._keep_s = keep_s
        self._max_stored_bytes = max_stored_bytes
        self._strays: set[str] = set()
        self._next_look_s = 0.0
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
            StoreError: the object store cannot be read or written.
        """
        for job in self._jobs.uncleared():
            for folder in job.folders():
                drop_folder(folder)
            self._media.drop_uploads(job)
            self._jobs.set_cleared(job.id)
        for job in self._jobs.expired(self._keep_s):
            self._remove(job)
        for job in self._jobs.beyond_quota(self._max_stored_bytes):
            logger.info("animation %s is removed, since the results exceed serve.max_stored_bytes", job.id)
            self._remove(job)
        self._delete_orphans()
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + ORPHAN_S
            self._delete_strays()

    def _remove(self, job: Job) -> None:
        # The files first: a row without files is found again, files without a row only as orphans.
        if job.batch is None:
            self._media.drop(job.id)
        self._jobs.remove(job.id)

    def _delete_orphans(self) -> None:
        if not self._media.folder.is_dir():
            return
        for folder in self._media.folder.iterdir():
            if _age_s(folder) <= ORPHAN_S:
                continue
            job = self._jobs.get(folder.name)
            if job is None:
                logger.info("folder %s belongs to no job and is deleted", folder)
                self._media.drop(folder.name)
            elif job.status.is_final:
                self._media.drop_copies(job.id)

    def _delete_strays(self) -> None:
        """Delete from the object store what belonged to no job at the last look either."""
        strays = {job_id for job_id in self._media.stored_ids() if self._jobs.get(job_id) is None}
        for job_id in strays & self._strays:
            logger.info("files of %s in the object store belong to no job and are deleted", job_id)
            self._media.drop(job_id)
        self._strays = strays

    def _work(self) -> None:
        while True:
            try:
                self.run_once()
            except (DatabaseError, OSError, StoreError) as error:
                logger.error("the clean-up failed and is tried again in %g s: %s", INTERVAL_S, error)
            if self._stopping.wait(INTERVAL_S):
                return


def _age_s(folder: Path) -> float:
    """Return the age of a folder in seconds; 0 if a request has deleted it meanwhile."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
