"""Submits and reads batches of files on the server's disk."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import RefusalError, bad_field
from lia_model.serving.jobs.job import Order, count, new_id, summarize
from lia_model.serving.messages import BatchAccepted, BatchItem, BatchRequest, BatchStatus, Error
from lia_model.serving.requests.status import batch_links_of, item_status_of
from lia_model.serving.requests.submission import Submission


class BatchRequests:
    """Carries out the requests about batches; allowed folders and numbers are those of the submission."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._jobs = submission.jobs
        self._limits = submission.limits

    def accept(
        self, caller: Caller, request: BatchRequest, correlation_id: str | None = None
    ) -> BatchAccepted:
        """Queue the items of a batch; an item whose files are missing fails at once, the others are queued.

        Args:
            caller: who will own the jobs.
            request: the items.
            correlation_id: of the work that they are part of.

        Raises:
            RefusalError: a path is not allowed, two items have the same name or key, a key came before with
                another animation, the batch is too large or the queue is full; no item is queued.
        """
        most = self._limits.max_num_batch_items
        if len(request.items) > most:
            raise bad_field("items", f"got {len(request.items)}; send at most {most}")
        output = self._limits.folders.output_path("output", request.output, caller)
        names = [
            f"{index:05d}" if item.name is None else item.name for index, item in enumerate(request.items)
        ]
        ((name, num_uses),) = Counter(names).most_common(1)
        if num_uses > 1:
            raise bad_field("items", f"{num_uses} items have the name {name}; give each item its own")
        keys = [item.idempotency_key for item in request.items if item.idempotency_key is not None]
        if len(set(keys)) < len(keys):
            raise bad_field("items", "two items have the same idempotency_key; give each its own")
        ordered = (
            self._order(caller, f"items.{index}", item, output / f"{name}.mp4")
            for index, (item, name) in enumerate(zip(request.items, names, strict=True))
        )
        orders = {new_id(): replace(order, correlation_id=correlation_id) for order in ordered}
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise bad_field(
                "output", f"{request.output} cannot be created ({error.strerror}); give another folder"
            ) from None
        batch = new_id()
        self._submission.submit(orders, batch)
        return BatchAccepted(id=batch, status=self.status(caller, batch).status, links=batch_links_of(batch))

    def status(self, caller: Caller, batch: str) -> BatchStatus:
        """Return the status of a batch and of each of its items.

        Raises:
            RefusalError: there is no such batch.
        """
        found = self._jobs.get_batch(batch)
        if not found or not all(caller.sees(job.order.owner) for job in found):
            raise RefusalError(404, "not_found", f"there is no batch {batch}")
        counts = count([job.status for job in found])
        items = [item_status_of(index, job) for index, job in enumerate(found)]
        return BatchStatus(
            id=batch, status=summarize(counts), counts=counts, items=items, links=batch_links_of(batch)
        )

    def _order(self, caller: Caller, field: str, item: BatchItem, output: Path) -> Order:
        version, is_pinned = self._submission.model(f"{field}.model", item.model)
        source = self._limits.folders.input_path(f"{field}.source", item.source, caller)
        driving = self._limits.folders.input_path(f"{field}.driving", item.driving, caller)
        # Not `Path.is_file`, which raises for a name that is too long or a folder that may not be read.
        files = ((source, item.source), (driving, item.driving))
        missing = next((given for path, given in files if not os.path.isfile(path)), None)  # noqa: PTH113
        error = None if missing is None else Error(code="not_found", message=f"there is no file {missing}")
        return Order(
            source,
            driving,
            output,
            item.options,
            version,
            error,
            item.idempotency_key,
            is_pinned,
            owner=caller.owner,
            priority=item.priority,
        )
