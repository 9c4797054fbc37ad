"""A job of the service: what was ordered, and how far it has come."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lia_model.animation.options import AnimationOptions
from lia_model.serving.messages import Error, JobStatus, ModelVersion


@dataclass(frozen=True)
class Order:
    """What to animate; `error` marks an order that failed before it started, kept for the record."""

    source: Path
    driving: Path
    output: Path
    options: AnimationOptions
    model: ModelVersion
    """The model served at submission; once a runner has claimed the job, the one that it animates with."""
    error: Error | None = None
    idempotency_key: str | None = None
    """Word of the client's by which a repeated order is recognised; None recognises none."""
    is_pinned: bool = False
    """Whether the client asked for this version, so that no other may animate it."""
    owner: str | None = None
    """Name of who submitted it; None is nobody in particular."""
    content: str | None = None
    """Hash of the uploads, if there is a key to recognise them by; None for files, known by their paths."""
    stored_bytes: int = 0
    """Size of its files that the service keeps: the uploads, later the result; 0 for files of a batch."""
    priority: int = 0
    """Among the owner's own jobs the highest starts first."""
    correlation_id: str | None = None
    """Id of the work that this is part of; None if the client sent none."""
    trace_parent: str | None = None
    """W3C `traceparent` of the span of the request that submitted it; None without traces."""

    def asks_for_the_same_as(self, other: "Order") -> bool:
        """Return whether both ask for one animation, by the same version or by whatever is served."""

        def asked(order: Order) -> tuple[object, ...]:
            if order.content is not None:
                return order.content, order.options
            version = order.model if order.is_pinned else None
            return order.source, order.driving, order.output, order.options, version

        return asked(self) == asked(other)


@dataclass(frozen=True)
class Job:
    """One row of the store, as it was when read. Times are seconds since the epoch."""

    number: int
    """Place in the order of submission."""
    id: str
    batch: str | None
    """The batch that submitted it, whose files are the user's own; None for an upload."""
    order: Order
    status: JobStatus
    frames_done: int
    frames_total: int
    attempts: int
    """How often it was started."""
    failures: int
    """How often it failed unexpectedly."""
    losses: int
    """How many runners died while they held it."""
    lease: str | None
    submitted_s: float
    started_s: float | None
    """Start of the latest attempt; None before the first."""
    ended_s: float | None
    warnings: tuple[str, ...] = ()
    """What was wrong with the files of a job that succeeded all the same."""

    @property
    def folder(self) -> Path:
        """Return where the runner writes: beside the result, so that a rename publishes it.

        Each attempt has its own: a runner that has lost its lease may write on until it notices.
        """
        return self.order.output.parent / f".{self.id}.{self.lease}"

    def folders(self) -> list[Path]:
        """Return where the runners of all attempts wrote, as far as it is still there."""
        return list(self.order.output.parent.glob(f".{self.id}.*"))


def new_id() -> str:
    """Return a new id for a job or a batch that cannot be guessed."""
    return secrets.token_hex(16)


def count(statuses: Sequence[JobStatus]) -> dict[JobStatus, int]:
    """Return the number of jobs by status; every status is a key."""
    return {status: statuses.count(status) for status in JobStatus}


def summarize(counts: Mapping[JobStatus, int]) -> JobStatus:
    """Return the status of a batch; see `messages.BatchStatus`."""
    num_items = sum(counts.values())
    if counts[JobStatus.QUEUED] == num_items:
        return JobStatus.QUEUED
    if counts[JobStatus.QUEUED] or counts[JobStatus.RUNNING]:
        return JobStatus.RUNNING
    worst_first = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SUCCEEDED)
    return next(status for status in worst_first if counts[status])
