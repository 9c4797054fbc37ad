"""How long the queue takes to have room again, by how fast jobs have ended of late."""

import sqlalchemy as sa

from lia_model.serving.jobs.queue import num_queued_by_line
from lia_model.serving.jobs.table import JOBS
from lia_model.serving.messages import JobStatus

WINDOW_S = 600.0
"""Over how long ended jobs are counted."""
UNKNOWN_S = 5.0
"""Wait for one job while none has ended."""


def mean_job_s(db: sa.Connection, now_s: float) -> float:
    """Return the mean time from one end of a job to the next, over all runners, while there were jobs."""
    since_s = now_s - WINDOW_S
    ended = sa.select(sa.func.count(), sa.func.min(JOBS.c.started_s)).where(
        JOBS.c.status.in_([JobStatus.SUCCEEDED, JobStatus.FAILED]),
        JOBS.c.ended_s > since_s,
        JOBS.c.started_s.is_not(None),
    )
    number, first_s = db.execute(ended).one()
    return (now_s - max(first_s, since_s)) / number if number else UNKNOWN_S


def time_to_room_s(db: sa.Connection, now_s: float, of_batches: bool, num_jobs: int) -> float:
    """Return about how long it takes until an owner has `num_jobs` fewer jobs in the queue.

    Owners take turns, and items of batches wait for all uploads; see `turns.order_of_service`.
    """
    uploads, items = num_queued_by_line(db, of_batches=False), num_queued_by_line(db, of_batches=True)
    line = items if of_batches else uploads
    num_before = sum(min(num, num_jobs) for num in line.values())
    if of_batches:
        num_before += sum(uploads.values())
    return max(num_before, 1) * mean_job_s(db, now_s)
