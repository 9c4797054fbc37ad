"""Which jobs are kept no longer."""

from typing import Any

import sqlalchemy as sa

from lia_model.serving.jobs.table import BATCH_ITEMS, JOBS


def select_expired(since_s: float) -> sa.Select[Any]:
    """Select the jobs that ended before `since_s`, as did all of their batches' jobs."""
    own, other, beside = BATCH_ITEMS.alias("own"), BATCH_ITEMS.alias("other"), JOBS.alias("beside")
    fresh = (
        sa.select(sa.literal(1))
        .select_from(own)
        .join(other, other.c.batch == own.c.batch)
        .join(beside, beside.c.id == other.c.job)
        .where(own.c.job == JOBS.c.id, sa.or_(beside.c.ended_s.is_(None), beside.c.ended_s >= since_s))
    )
    return sa.select(JOBS).where(JOBS.c.ended_s < since_s, ~fresh.exists())
