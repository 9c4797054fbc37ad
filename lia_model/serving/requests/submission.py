"""How orders get into the job store: with which model, and whether there is room."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lia_model.serving.errors import RefusalError, bad_field
from lia_model.serving.jobs import JobStore, KeyReusedError, QueueFullError
from lia_model.serving.jobs.job import Order
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog, RegistrySilentError, UnknownModelError
from lia_model.serving.requests.limits import ApiLimits
from lia_model.serving.tracing import with_trace_parent

MAX_RETRY_AFTER_S = 120
"""Longest pause that a client is asked to make when the queue is full; there may be room sooner."""
SILENT_S = 5
"""Pause that a client is asked to make when the model registry does not answer."""


@dataclass(frozen=True)
class Submission:
    """Submits orders, or refuses them."""

    jobs: JobStore
    """The job store."""
    catalog: ModelCatalog
    """The models that may be asked for."""
    limits: ApiLimits
    """Allowed numbers."""

    def model(self, field: str, word: str | None) -> tuple[ModelVersion, bool]:
        """Return the version that a field of a request means, and whether it alone will do.

        Raises:
            RefusalError: there is no such version, or it cannot be looked for now.
        """
        try:
            return self.catalog.find(word)
        except UnknownModelError as error:
            raise bad_field(field, str(error)) from None
        except RegistrySilentError as error:
            message = f"{field}: {error}; try again, or leave it out"
            raise RefusalError(503, "unavailable", message, {"Retry-After": str(SILENT_S)}) from None

    def submit(self, orders: Mapping[str, Order], batch: str | None) -> dict[str, str]:
        """Queue `orders`, all or none; see `JobStore.submit`.

        Raises:
            RefusalError: a key came before with another animation, or the queue is full.
        """
        most = self.limits.max_num_queued if batch is None else self.limits.max_num_batch_items
        traced = {job_id: with_trace_parent(order) for job_id, order in orders.items()}
        try:
            return self.jobs.submit(traced, most, batch)
        except KeyReusedError as error:
            raise bad_field(
                "Idempotency-Key" if batch is None else "items",
                f"the idempotency_key {error.key} came before with another animation; give a new one",
            ) from None
        except QueueFullError as error:
            raise RefusalError(
                429,
                "queue_full",
                f"the queue holds at most {most} {'uploads' if batch is None else 'items of batches'}; try "
                "again later",
                self._retry_after(batch is not None, error.num_over),
            ) from None

    def require_room(self, num_bytes: int) -> None:
        """Refuse uploads that do not fit beside those that wait; results make room for them.

        Raises:
            RefusalError: they do not fit.
        """
        num_bytes_over = self.jobs.num_stored_bytes(of_active=True) + num_bytes - self.limits.max_stored_bytes
        if num_bytes_over > 0:
            # As if the uploads that wait were as large as these.
            num_jobs = math.ceil(num_bytes_over / num_bytes)
            raise RefusalError(
                429,
                "storage_full",
                f"the uploads that wait may have {self.limits.max_stored_bytes} bytes, and these do not fit; "
                "try again later",
                self._retry_after(of_batches=False, num_jobs=num_jobs),
            )

    def _retry_after(self, of_batches: bool, num_jobs: int) -> dict[str, str]:
        wait_s = math.ceil(self.jobs.time_to_room_s(of_batches, num_jobs))
        return {"Retry-After": str(min(max(wait_s, 1), MAX_RETRY_AFTER_S))}
