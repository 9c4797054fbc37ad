"""Runs queued jobs in threads, each one job after another: claim, animate, report.

A further thread renews the lease of each, since decoding, detection and inference may take longer than it
lasts. All threads outlive errors of the job store: they log them and try again.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lia_model.animation.failures import FAILURES, code_of, without_folders
from lia_model.animation.file import AnimationRequest, AnimationResult, animate_file
from lia_model.animation.run import AnimationRun, StoppedError
from lia_model.serving.database import DatabaseError
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.job import Job
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import Error, ModelVersion
from lia_model.serving.models.loaded import ModelUnavailableError
from lia_model.serving.tracing import Tracing
from preprocessing.background import in_background
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)

POLL_S = 0.2
"""Polling interval of an empty queue."""
STORE_PAUSE_S = 1.0
"""Pause after an error of the job store."""
REPORT_S = 0.5
"""Least time between two stored progress updates."""
RENEWALS_A_LEASE = 4


class JobRunner:
    """Animates the jobs of one store with one model, in threads of its own.

    Args:
        jobs: the store.
        run: the model and how it is run; its progress and stop are the runner's own.
        model: name and version of the model of `run`.
        media: uploads and their results.
        check: looks at the files of batches; None accepts them all.
        load: returns another version of the model, loaded; None animates all jobs with `model`.
        num_jobs: jobs at a time; for more than one, threads must be able to share the models.
    """

    def __init__(
        self,
        jobs: JobStore,
        run: AnimationRun,
        model: ModelVersion,
        media: JobMedia,
        check: Callable[[Path], object] | None = None,
        load: Callable[[ModelVersion], AnimationRun] | None = None,
        num_jobs: int = 1,
    ) -> None:
        self._tracing = Tracing({})
        self._load = load
        self._check = check
        self._jobs = jobs
        self._run = replace(run, model=model.uri)
        self._model = model
        self._media = media
        self._draining, self._stopping = threading.Event(), threading.Event()
        self._last_frame_s = -math.inf
        self._threads = [
            threading.Thread(target=self._work, name=f"animations {number}", daemon=True)
            for number in range(1, num_jobs + 1)
        ]

    @property
    def is_alive(self) -> bool:
        """Return whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def idle_s(self) -> float:
        """Return the time since the last frame; infinite before the first."""
        return time.monotonic() - self._last_frame_s

    def trace(self, tracing: Tracing) -> None:
        """Make spans of the jobs; call before `start`."""
        self._tracing = tracing

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, finish_s: float = 0.0) -> None:
        """Start no other job, and stop once the current ones have ended.

        Args:
            finish_s: how long the current jobs may take; then they stop after a frame and are queued again.
        """
        self._draining.set()
        deadline_s = time.monotonic() + finish_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def perform_next(self) -> bool:
        """Claim and perform the oldest job; False if none is queued.

        Raises:
            DatabaseError: the store cannot be read or written.
        """
        job = self._jobs.claim(self._model, self._load is not None)
        if job is None:
            return False
        with self._tracing.job(job):
            self.perform(job)
        return True

    def perform(self, job: Job) -> None:
        """Finish or fail one claimed job, or queue it again after an unexpected failure.

        Raises:
            DatabaseError: the store cannot be read or written; the job runs again once its lease expires.
        """
        logger.info("job %s starts (correlation id %s)", job.id, job.order.correlation_id or "none")
        try:
            self._animate(job)
        except FAILURES as error:
            # Clients do not see the folders.
            message = without_folders(error, (*_files(job), job.folder))
            self._tracing.fail(message)
            self._jobs.fail(job, Error(code=code_of(error), message=message))
        except StoppedError:
            self._jobs.release(job)
        except ModelUnavailableError as error:
            self._tracing.fail(str(error))
            self._jobs.put_off(job, Error(code="model_unavailable", message=str(error)))
        except StoreError as error:
            self._tracing.fail(str(error))
            self._put_back(job, error)
        except DatabaseError:
            raise
        except Exception as error:
            # One failing job must not end the thread.
            logger.exception("job %s failed unexpectedly", job.id)
            self._tracing.fail(type(error).__name__)
            self._jobs.give_back(job, f"{type(error).__name__}; the server's log has the details")
        finally:
            shutil.rmtree(job.folder, ignore_errors=True)
        self._drop_uploads(job)

    def _work(self) -> None:
        while not self._draining.is_set():
            try:
                if not self.perform_next():
                    self._draining.wait(POLL_S)
            except DatabaseError as error:
                logger.error("%s", error)
                self._draining.wait(STORE_PAUSE_S)

    def _animate(self, job: Job) -> None:
        job.folder.mkdir(parents=True)
        produced = job.folder / "result.mp4"
        request = AnimationRequest(job.order.source, job.order.driving, produced, job.order.options)
        noted_s = -REPORT_S

        def progress(done: int, total: int) -> None:
            nonlocal noted_s
            if done:
                self._last_frame_s = time.monotonic()
            if done == 1:
                self._tracing.note("first frame")
            if time.monotonic() - noted_s >= REPORT_S:
                self._report(job, done, total)
                noted_s = time.monotonic()

        with self._lease(job) as lost:
            with self._tracing.stage("check files"):
                self._media.require_uploads(job)
                self._check_files(job)

            def should_stop() -> bool:
                return lost.is_set() or self._stopping.is_set()

            with self._tracing.stage("load model"):
                run = self._run_of(job.order.model)
            with self._tracing.stage("animate"):
                result = animate_file(replace(run, progress=progress, should_stop=should_stop), request)
            with self._tracing.stage("store result"):
                self._store(job, produced, result, should_stop)

    def _store(
        self, job: Job, produced: Path, result: AnimationResult, should_stop: Callable[[], bool]
    ) -> None:
        """Share and publish the result, trying again while a store cannot be written."""
        is_shared = False
        while True:
            try:
                # Once: publishing moves the file, and may fail afterwards.
                if not is_shared:
                    self._media.share_result(job, produced)
                    is_shared = True
                self._jobs.finish(job, produced, result.num_frames, result.warnings)
                return
            except (DatabaseError, StoreError) as error:
                logger.error("%s", error)
                if should_stop():
                    raise
                self._stopping.wait(STORE_PAUSE_S)

    def _run_of(self, model: ModelVersion) -> AnimationRun:
        if self._load is None or model == self._model:
            return self._run
        return replace(self._load(model), model=model.uri)

    def _report(self, job: Job, done: int, total: int) -> None:
        """Store the progress; without it the job goes on all the same."""
        try:
            self._jobs.advance(job, done, total)
        except DatabaseError as error:
            logger.warning("the progress of job %s is not stored: %s", job.id, error)

    def _check_files(self, job: Job) -> None:
        """Check the files of a batch; uploads were checked when they arrived."""
        if self._check is not None and job.batch is not None:
            for path in (job.order.source, job.order.driving):
                self._check(path)

    @contextmanager
    def _lease(self, job: Job) -> Iterator[threading.Event]:
        """Renew the job's lease until the block ends; the event is set if the lease is lost."""
        lost = threading.Event()

        def renew(ended: threading.Event) -> None:
            while not ended.wait(self._jobs.rules.lease_s / RENEWALS_A_LEASE):
                try:
                    is_held = self._jobs.renew(job)
                except DatabaseError as error:
                    # The job may still be ours: only the store tells.
                    logger.warning("the lease of job %s is not renewed: %s", job.id, error)
                    continue
                if not is_held:
                    lost.set()
                    return

        with in_background(renew, f"lease {job.id}"):
            yield lost

    def _put_back(self, job: Job, error: StoreError) -> None:
        """Queue a job again whose files the object store does not give; an outage is no fault of the job."""
        if isinstance(error.__cause__, FileNotFoundError):
            self._jobs.give_back(job, "its uploads are not in the object store")
            return
        logger.error("job %s waits for the object store: %s", job.id, error)
        self._jobs.release(job)
        self._draining.wait(STORE_PAUSE_S)

    def _drop_uploads(self, job: Job) -> None:
        """Delete the uploads of a job that has ended; files of a batch belong to its owner."""
        now = self._jobs.get(job.id)
        if now is None or now.status.is_final:
            try:
                self._media.drop_uploads(job)
            except StoreError as error:
                logger.warning("the clean-up will delete the uploads of job %s: %s", job.id, error)


def _files(job: Job) -> tuple[Path, ...]:
    return job.order.source, job.order.driving, job.order.output
