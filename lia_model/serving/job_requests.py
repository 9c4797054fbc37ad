"""Submits, reads and cancels jobs for the HTTP interface, without any HTTP of its own."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from starlette.datastructures import UploadFile

from lia_model.animation.options import AnimationOptions
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.scopes import Caller
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.errors import RefusalError, bad_field
from lia_model.serving.job_status import batch_links_of, item_status_of, links_of, status_of
from lia_model.serving.jobs import JobStore, KeyReusedError, QueueFullError
from lia_model.serving.jobs.job import Job, Order, count, new_id, summarize
from lia_model.serving.jobs.media import RESULT, UPLOADS, JobMedia
from lia_model.serving.messages import (
    AnimationAccepted,
    AnimationList,
    AnimationStatus,
    BatchAccepted,
    BatchItem,
    BatchRequest,
    BatchStatus,
    Error,
    JobStatus,
    ModelVersion,
)
from lia_model.serving.uploads import MediaCheck, store_upload
from lia_model.settings import RequestLimits
from preprocessing.storage.files import file_sha256, make_durable
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
"""Pause that a client is asked to make when the queue is full."""


@dataclass(frozen=True)
class ApiLimits:
    """Limits of the HTTP interface."""

    folders: BatchFolders
    """Folders that batches may use."""
    media: JobMedia
    """Uploads and their results."""
    tokens: Tokens
    """Bearer tokens of every path but the health check."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Most queued uploads."""
    max_num_batch_items: int
    """Most queued items of batches."""
    requests: RequestLimits
    """Number and speed of requests."""
    max_stored_bytes: int
    """Most bytes of the uploads that wait and of the results that are kept."""


class JobRequests:
    """Carries out the requests of the HTTP interface on the job store.

    Args:
        jobs: the job store.
        model: the model that animates.
        limits: allowed folders and numbers.
        check: looks at the content of uploads.
    """

    def __init__(self, jobs: JobStore, model: ModelVersion, limits: ApiLimits, check: MediaCheck) -> None:
        self.jobs = jobs
        self.model = model
        self.limits = limits
        self._check = check

    def accept(
        self,
        caller: Caller,
        source: UploadFile,
        driving: UploadFile,
        options: AnimationOptions,
        model: str | None = None,
        idempotency_key: str | None = None,
    ) -> AnimationAccepted:
        """Store the uploads and queue their animation; both are on the disk when this returns.

        Args:
            caller: who will own the job.
            source: image or video of the person to animate.
            driving: image or video whose motion it takes.
            options: how.
            model: name of the served model, or its URI with the version, which then no other may replace;
                None is any.
            idempotency_key: recognises a repeated request, which gets the earlier job unless that failed, was
                cancelled or has lost its result.

        Raises:
            RefusalError: the model is not served, an upload is not an image or a video, the key came before
                with another request, or the queue is full; nothing is kept.
        """
        served = self.model.uri
        if model not in (None, self.model.name, served):
            raise bad_field("model", f"{model} is not served here; {served} is: leave it out or give that")
        job_id = new_id()
        folder = self.limits.media.folder_of(job_id)
        folder.mkdir(parents=True)
        try:
            paths = {name: folder / name for name in UPLOADS}
            for (name, path), upload in zip(paths.items(), (source, driving), strict=True):
                store_upload(upload, name, path, self._check)
            make_durable(folder)
            make_durable(folder.parent)
            files = (paths["source"], paths["driving"], folder / RESULT)
            num_bytes = sum(path.stat().st_size for path in paths.values())
            self._require_room(num_bytes)
            order = Order(
                *files,
                options,
                self.model,
                is_pinned=model == served,
                owner=caller.owner,
                stored_bytes=num_bytes,
            )
            if idempotency_key is not None:
                content = " ".join(file_sha256(path) for path in paths.values())
                order = replace(order, idempotency_key=idempotency_key, content=content)
            self.limits.media.share_uploads(job_id)
            accepted = self._submit({job_id: order}, batch=None)[job_id]
        except BaseException:
            self._drop(job_id)
            raise
        if accepted != job_id:
            self._drop(job_id)
        return AnimationAccepted(
            id=accepted, status=self.get(caller, accepted).status, links=links_of(accepted)
        )

    def accept_batch(self, caller: Caller, request: BatchRequest) -> BatchAccepted:
        """Queue the items of a batch; an item whose files are missing fails at once, the others are queued.

        Raises:
            RefusalError: a path is not allowed, two items have the same name or key, a key came before with
                another animation, the batch is too large or the queue is full; no item is queued.
        """
        most = self.limits.max_num_batch_items
        if len(request.items) > most:
            raise bad_field("items", f"got {len(request.items)}; send at most {most}")
        output = self.limits.folders.output_path("output", request.output, caller)
        names = [
            f"{index:05d}" if item.name is None else item.name for index, item in enumerate(request.items)
        ]
        ((name, num_uses),) = Counter(names).most_common(1)
        if num_uses > 1:
            raise bad_field("items", f"{num_uses} items have the name {name}; give each item its own")
        keys = [item.idempotency_key for item in request.items if item.idempotency_key is not None]
        if len(set(keys)) < len(keys):
            raise bad_field("items", "two items have the same idempotency_key; give each its own")
        orders = {
            new_id(): self._order(caller, f"items.{index}", item, output / f"{name}.mp4")
            for index, (item, name) in enumerate(zip(request.items, names, strict=True))
        }
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise bad_field(
                "output", f"{request.output} cannot be created ({error.strerror}); give another folder"
            ) from None
        batch = new_id()
        self._submit(orders, batch)
        return BatchAccepted(
            id=batch, status=self.batch_status(caller, batch).status, links=batch_links_of(batch)
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
        found = self.jobs.newest(limit + 1, status, before, caller.visible_owner)
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
        job = self.jobs.get(job_id)
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
        video = self.limits.media.find_result(job)
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
        was_active = self.jobs.cancel(job_id)
        if job.batch is None:
            self.limits.media.drop(job_id)
            if not was_active:
                self.jobs.remove(job_id)
        elif not was_active:
            raise RefusalError(
                409,
                "in_batch",
                "the animation has ended and belongs to a batch; delete its file from the output folder",
            )

    def batch_status(self, caller: Caller, batch: str) -> BatchStatus:
        """Return the status of a batch and of each of its items.

        Raises:
            RefusalError: there is no such batch.
        """
        found = self.jobs.get_batch(batch)
        if not found or not all(caller.sees(job.order.owner) for job in found):
            raise RefusalError(404, "not_found", f"there is no batch {batch}")
        counts = count([job.status for job in found])
        items = [item_status_of(index, job) for index, job in enumerate(found)]
        return BatchStatus(
            id=batch, status=summarize(counts), counts=counts, items=items, links=batch_links_of(batch)
        )

    def _drop(self, job_id: str) -> None:
        """Delete the files of a job; what the object store keeps now, the clean-up deletes."""
        try:
            self.limits.media.drop(job_id)
        except StoreError as error:
            logger.warning("the files of job %s are not deleted yet: %s", job_id, error)

    def _require_room(self, num_bytes: int) -> None:
        """Refuse uploads that do not fit beside those that wait; results make room for them."""
        if self.jobs.num_stored_bytes(of_active=True) + num_bytes > self.limits.max_stored_bytes:
            raise RefusalError(
                429,
                "storage_full",
                f"the uploads that wait may have {self.limits.max_stored_bytes} bytes, and these do not fit; "
                "try again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            )

    def _submit(self, orders: Mapping[str, Order], batch: str | None) -> dict[str, str]:
        most = self.limits.max_num_queued if batch is None else self.limits.max_num_batch_items
        try:
            return self.jobs.submit(orders, most, batch)
        except KeyReusedError as error:
            raise bad_field(
                "Idempotency-Key" if batch is None else "items",
                f"the idempotency_key {error.key} came before with another animation; give a new one",
            ) from None
        except QueueFullError:
            raise RefusalError(
                429,
                "queue_full",
                f"the queue holds at most {most} {'uploads' if batch is None else 'items of batches'}; try "
                "again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            ) from None

    def _order(self, caller: Caller, field: str, item: BatchItem, output: Path) -> Order:
        source = self.limits.folders.input_path(f"{field}.source", item.source, caller)
        driving = self.limits.folders.input_path(f"{field}.driving", item.driving, caller)
        # Not `Path.is_file`, which raises for a name that is too long or a folder that may not be read.
        files = ((source, item.source), (driving, item.driving))
        missing = next((given for path, given in files if not os.path.isfile(path)), None)  # noqa: PTH113
        error = None if missing is None else Error(code="not_found", message=f"there is no file {missing}")
        return Order(
            source,
            driving,
            output,
            item.options,
            self.model,
            error,
            item.idempotency_key,
            owner=caller.owner,
        )
