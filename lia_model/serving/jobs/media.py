"""The files of jobs: uploads and their results, in a folder of this machine and, if set, an object store.

With an object store, replicas on other machines animate what this one received, and it shows what they made;
the folder then holds copies. A result is stored before its job ends, under the lease of the attempt that made
it, so that a runner that has lost its lease replaces nothing that is seen. Files of batches stay where their
owner has them.
"""

import shutil
from pathlib import Path

from lia_model.serving.jobs.job import Job
from preprocessing.storage.object_store import Store

UPLOADS = ("source", "driving")
RESULT = "video.mp4"


class JobMedia:
    """Finds, keeps and deletes the files of uploads and their results.

    Args:
        folder: with one folder for each job; nothing else may be in it.
        store: where they are kept for all machines; None keeps them in the folder alone.
    """

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self._store = store

    def folder_of(self, job_id: str) -> Path:
        """Return the folder of a job, which may not exist."""
        return self.folder / job_id

    def share_uploads(self, job_id: str) -> None:
        """Move the uploads from the job's folder to the object store, if there is one.

        Raises:
            StoreError: the object store cannot be written.
        """
        if self._store is not None:
            folder = self.folder_of(job_id)
            self._store.put(_uploads_of(job_id), {name: folder / name for name in UPLOADS})
            # Whichever machine animates fetches them and deletes its copies; nobody would delete these.
            drop_folder(folder)

    def require_uploads(self, job: Job) -> None:
        """Fetch the uploads of a job if they are not on this machine.

        Raises:
            StoreError: the object store does not have them, or cannot be read.
        """
        places = {"source": job.order.source, "driving": job.order.driving}
        store = self._store_of(job)
        if store is not None and not all(path.is_file() for path in places.values()):
            store.fetch(_uploads_of(job.id), places)

    def share_result(self, job: Job, produced: Path) -> None:
        """Store the result of the attempt that holds the job.

        Raises:
            StoreError: the object store cannot be written.
        """
        store = self._store_of(job)
        if store is not None:
            store.put(_result_of(job), {RESULT: produced})

    def find_result(self, job: Job) -> Path | None:
        """Return the result of a job that has succeeded, fetched if need be; None if it was removed.

        Raises:
            StoreError: the object store cannot be read.
        """
        path, store = job.order.output, self._store_of(job)
        if path.is_file() or (store is not None and store.get(_result_of(job), lambda _: path)):
            return path
        return None

    def has_result(self, job: Job) -> bool:
        """Return whether the result of a job that has succeeded is still there, without fetching it.

        Raises:
            StoreError: the object store cannot be read.
        """
        store = self._store_of(job)
        return job.order.output.is_file() or (store is not None and store.holds(_result_of(job)))

    def drop_uploads(self, job: Job) -> None:
        """Delete the uploads of a job.

        Raises:
            StoreError: the object store cannot be written.
        """
        if job.batch is not None:
            return
        job.order.source.unlink(missing_ok=True)
        job.order.driving.unlink(missing_ok=True)
        if self._store is not None:
            self._store.remove(_uploads_of(job.id))

    def drop_copies(self, job_id: str) -> None:
        """Delete the files that this machine has of an upload's job, if the object store has them too."""
        if self._store is not None:
            drop_folder(self.folder_of(job_id))

    def drop(self, job_id: str) -> None:
        """Delete all files of an upload's job.

        Raises:
            StoreError: the object store cannot be written.
        """
        drop_folder(self.folder_of(job_id))
        if self._store is not None:
            for bundle in self._store.bundles(job_id):
                self._store.remove(bundle)

    def stored_ids(self) -> set[str]:
        """Return the ids of the jobs that the object store has files of.

        Raises:
            StoreError: the object store cannot be read.
        """
        bundles = [] if self._store is None else self._store.bundles("")
        return {bundle.partition("/")[0] for bundle in bundles}

    def _store_of(self, job: Job) -> Store | None:
        return self._store if job.batch is None else None


def drop_folder(folder: Path) -> None:
    """Delete a folder that may be gone already, or be deleted by a request meanwhile."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return


def _uploads_of(job_id: str) -> str:
    return f"{job_id}/uploads"


def _result_of(job: Job) -> str:
    return f"{job.id}/{job.lease}"
