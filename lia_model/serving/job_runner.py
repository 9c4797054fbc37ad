"""Runs queued jobs one after another in a thread: claim, animate, report.

A second thread renews the lease, since decoding, detection and inference may each take longer than it lasts.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lia_model.animation.file import AnimationRequest, animate_file
from lia_model.animation.footage import Decoding, UnreadableMediaError
from lia_model.animation.framing import FaceCropper, NoFaceError, NoSuchFaceError
from lia_model.animation.media_check import MediaTooLargeError
from lia_model.animation.options import OptionsConflictError
from lia_model.animation.run import AnimationRun, StoppedError
from lia_model.animator import Animator
from lia_model.serving.jobs import Job, JobStore
from lia_model.serving.messages import Error

logger = logging.getLogger(__name__)

POLL_S = 0.2
"""Polling interval of an empty queue."""
REPORT_S = 0.5
"""Least time between two stored progress updates."""
RENEWALS_A_LEASE = 4
CODES: dict[type[Exception], str] = {
    NoFaceError: "no_face",
    NoSuchFaceError: "no_such_face",
    OptionsConflictError: "bad_options",
    MediaTooLargeError: "too_large",
    UnreadableMediaError: "unreadable_media",
}
"""Error codes of jobs that another attempt cannot mend; a special kind comes before its general one."""


class JobRunner:
    """Animates the jobs of one store with one model, in its own thread."""

    def __init__(
        self,
        jobs: JobStore,
        animator: Animator,
        cropper: FaceCropper | None,
        batch_size: int,
        hardware_decoding: bool = False,
        hardware_encoding: bool = False,
        check: Callable[[Path], object] | None = None,
    ) -> None:
        """Keep the parts; `start` starts the thread. `check` looks at the files of batches."""
        self._check = check
        self._jobs = jobs
        self._animator = animator
        self._cropper = cropper
        self._batch_size = batch_size
        self._decoding = Decoding(hardware=hardware_decoding)
        self._hardware_encoding = hardware_encoding
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="animations", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current frame; the current job is queued again."""
        self._stopping.set()
        self._thread.join()

    def perform(self, job: Job) -> None:
        """Finish or fail one claimed job, or queue it again after an unexpected failure."""
        try:
            self._animate(job)
        except tuple(CODES) as error:
            code = next(code for kind, code in CODES.items() if isinstance(error, kind))
            self._jobs.fail(job, Error(code=code, message=str(error)))
        except StoppedError:
            self._jobs.give_back(job, "the server was stopped")
        except Exception as error:
            # One failing job must not end the thread.
            logger.exception("job %s failed unexpectedly", job.id)
            self._jobs.give_back(job, f"{type(error).__name__}: {error}")
        finally:
            shutil.rmtree(job.folder, ignore_errors=True)
            self._drop_uploads(job)

    def _run(self) -> None:
        while not self._stopping.is_set():
            job = self._jobs.claim()
            if job is None:
                self._stopping.wait(POLL_S)
            else:
                self.perform(job)

    def _animate(self, job: Job) -> None:
        # Files of an attempt that was killed.
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        produced = job.folder / "result.mp4"
        request = AnimationRequest(job.order.source, job.order.driving, produced, job.order.options)
        noted_s = -REPORT_S

        def progress(done: int, total: int) -> None:
            nonlocal noted_s
            if time.monotonic() - noted_s >= REPORT_S:
                self._jobs.advance(job, done, total)
                noted_s = time.monotonic()

        with self._lease(job) as lost:
            self._check_files(job)
            run = AnimationRun(
                self._animator,
                self._cropper,
                self._batch_size,
                self._decoding,
                self._hardware_encoding,
                progress,
                should_stop=lambda: lost.is_set() or self._stopping.is_set(),
            )
            result = animate_file(run, request)
        self._jobs.finish(job, produced, result.num_frames, result.warnings)

    def _check_files(self, job: Job) -> None:
        """Check the files of a batch; uploads were checked when they arrived."""
        if self._check is not None and job.batch is not None:
            for path in (job.order.source, job.order.driving):
                self._check(path)

    @contextmanager
    def _lease(self, job: Job) -> Iterator[threading.Event]:
        """Renew the job's lease until the block ends; the event is set if the lease is lost."""
        lost, ended = threading.Event(), threading.Event()

        def renew() -> None:
            while not ended.wait(self._jobs.lease_s / RENEWALS_A_LEASE):
                if not self._jobs.renew(job):
                    lost.set()
                    return

        thread = threading.Thread(target=renew, name=f"lease {job.id}", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            ended.set()
            thread.join()

    def _drop_uploads(self, job: Job) -> None:
        """Delete the uploads of a job that has ended; files of a batch belong to its owner."""
        now = self._jobs.get(job.id)
        if job.batch is None and (now is None or now.status.is_final):
            job.order.source.unlink(missing_ok=True)
            job.order.driving.unlink(missing_ok=True)
