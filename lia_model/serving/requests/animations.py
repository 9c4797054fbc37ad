"""Submits, reads and cancels animations of uploads, and shows those of batches too."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from starlette.datastructures import UploadFile

from lia_model.animation.options import AnimationOptions
from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import RefusalError
from lia_model.serving.jobs.job import Job, Order, new_id
from lia_model.serving.jobs.media import RESULT, UPLOADS
from lia_model.serving.messages import (
    AnimationAccepted,
    AnimationList,
    AnimationStatus,
    JobStatus,
)
from lia_model.serving.requests.status import links_of, status_of
from lia_model.serving.requests.submission import Submission
from lia_model.serving.uploads import MediaCheck, store_upload
from preprocessing.storage.files import file_sha256, make_durable
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What a request chooses beside the options of the animation."""

    model: str | None = None
    """See `ModelCatalog.find`."""
    priority: int = 0
    """Among the owner's uploads the highest starts first."""
    correlation_id: str | None = None
    """Id of the work that the job is part of."""


class AnimationRequests:
    """Carries out the requests about single animations.

    Args:
        submission: puts them into the job store.
        check: looks at the content of uploads.
    """

    def __init__(self, submission: Submission, check: MediaCheck) -> None:
        self._submission = submission
        self._jobs = submission.jobs
        self._media = submission.limits.media
        self._check = check

    def accept(
        self,
        caller: Caller,
        source: UploadFile,
        driving: UploadFile,
        options: AnimationOptions,
        chosen: Choice,
        idempotency_key: str | None = None,
    ) -> AnimationAccepted:
        """Store the uploads and queue their animation; both are on the disk when this returns.

        Args:
            caller: who will own the job.
            source: image or video of the person to animate.
            driving: image or video whose motion it takes.
            options: how.
            chosen: by which model and when.
            idempotency_key: recognises a repeated request, which gets the earlier job unless that failed, was
                cancelled or has lost its result.

        Raises:
            RefusalError: the model is not served, an upload is not an image or a video, the key came before
                with another request, or the queue is full; nothing is kept.
        """
        version, is_pinned = self._submission.model("model", chosen.model)
        job_id = new_id()
        folder = self._media.folder_of(job_id)
        folder.mkdir(parents=True)
        try:
            paths = {name: folder / name for name in UPLOADS}
            for (name, path), upload in zip(paths.items(), (source, driving), strict=True):
                store_upload(upload, name, path, self._check)
            make_durable(folder)
            make_durable(folder.parent)
            files = (paths["source"], paths["driving"], folder / RESULT)
            num_bytes = sum(path.stat().st_size for path in paths.values())
            self._submission.require_room(num_bytes)
            order = Order(
                *files,
                options,
                version,
                is_pinned=is_pinned,
                owner=caller.owner,
                priority=chosen.priority,
                stored_bytes=num_bytes,
                correlation_id=chosen.correlation_id,
            )
            if idempotency_key is not None:
                hashes = (file_sha256(path) for path in paths.values())
                content = " ".join([*hashes, *([chosen.model] if chosen.model else [])])
                order = replace(order, idempotency_key=idempotency_key, content=content)
            self._media.share_uploads(job_id)
            accepted = self._submission.submit({job_id: order}, batch=None)[job_id]
        except BaseException:
            self._drop(job_id)
            raise
        if accepted != job_id:
            self._drop(job_id)
        return AnimationAccepted(
            id=accepted, status=self.get(caller, accepted).status, links=links_of(accepted)
        )

    def status(self, caller: Caller, job_id: str) -> AnimationStatus:
        """Return the status of one animation.

        Raises:
            RefusalError: there is no such job.
        """
        return status_of(self.get(caller, job_id))

    def list_newest(
        self, caller: Caller, limit: int, status: JobStatus | None, before: int | None
    ) -> AnimationList:
        """Return one page of the animations that the caller sees, the newest first; see `JobStore.newest`."""
        # One more tells whether there is a next page.
        found = self._jobs.newest(limit + 1, status, before, caller.visible_owner)
        page = found[:limit]
        query: dict[str, object] = {"limit": limit, "before": page[-1].number if page else 0}
        if status is not None:
            query["status"] = status
        following = f"/v1/animations?{urlencode(query)}" if len(found) > limit else None
        return AnimationList(animations=[status_of(job) for job in page], next=following)

    def get(self, caller: Caller, job_id: str) -> Job:
        """Return the job.

        Raises:
            RefusalError: there is no such job, or only one of another owner, which looks the same.
        """
        job = self._jobs.get(job_id)
        if job is None or not caller.sees(job.order.owner):
            raise RefusalError(404, "not_found", f"there is no animation {job_id}")
        return job

    def video(self, caller: Caller, job_id: str) -> Path:
        """Return the finished video.

        Raises:
            RefusalError: there is no such job, it has not succeeded, or its video was removed.
        """
        job = self.get(caller, job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise RefusalError(
                409, "not_ready", f"the animation is {job.status}; it has a video only once it has succeeded"
            )
        video = self._media.find_result(job)
        if video is None:
            raise RefusalError(404, "not_found", "the video was removed")
        return video

    def delete(self, caller: Caller, job_id: str) -> None:
        """Cancel a job that has not ended, or remove one that has; the files of an upload are deleted.

        Raises:
            RefusalError: there is no such job, or it has ended and belongs to a batch.
            StoreError: the object store cannot be written; the job is still known.
        """
        job = self.get(caller, job_id)
        was_active = self._jobs.cancel(job_id)
        if job.batch is None:
            self._media.drop(job_id)
            if not was_active:
                self._jobs.remove(job_id)
        elif not was_active:
            raise RefusalError(
                409,
                "in_batch",
                "the animation has ended and belongs to a batch; delete its file from the output folder",
            )

    def _drop(self, job_id: str) -> None:
        """Delete the files of a job; what the object store keeps now, the clean-up deletes."""
        try:
            self._media.drop(job_id)
        except StoreError as error:
            logger.warning("the files of job %s are not deleted yet: %s", job_id, error)
