"""Sums over all jobs of the store."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from lia_model.serving.jobs.table import JOBS
from lia_model.serving.messages import JobStatus


@dataclass(frozen=True)
class JobFigures:
    """How many jobs there are, and how they fare."""

    num_by_status: Mapping[JobStatus, int]
    """Every status is a key."""
    oldest_age_s: float
    """Time since the oldest queued job was submitted; 0 without one."""
    num_frames: int
    """Frames rendered for all of them."""


def count_active(db: sa.Connection) -> dict[JobStatus, int]:
    """Return the numbers of jobs that wait and run."""
    active = (JobStatus.QUEUED, JobStatus.RUNNING)
    numbers = sa.select(JOBS.c.status, sa.func.count()).where(JOBS.c.status.in_(active))
    found = {JobStatus(status): number for status, number in db.execute(numbers.group_by(JOBS.c.status))}
    return {status: found.get(status, 0) for status in active}


def read_figures(db: sa.Connection, now_s: float) -> JobFigures:
    """Return the sums over the jobs that are kept."""
    numbers = sa.select(
        JOBS.c.status,
        sa.func.count().label("number"),
        sa.func.sum(JOBS.c.frames_done).label("frames"),
        sa.func.min(JOBS.c.submitted_s).label("first_s"),
    ).group_by(JOBS.c.status)
    rows = {JobStatus(row.status): row for row in db.execute(numbers)}
    queued = rows.get(JobStatus.QUEUED)
    return JobFigures(
        num_by_status={status: rows[status].number if status in rows else 0 for status in JobStatus},
        oldest_age_s=max(0.0, now_s - queued.first_s) if queued is not None else 0.0,
        num_frames=int(sum(row.frames for row in rows.values())),
    )
