"""The statements by which runners take jobs from the queue and give them back.

A row that another transaction works on is skipped, not waited for, so runners do not queue behind each other
on PostgreSQL; on SQLite one transaction writes at a time.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lia_model.serving.jobs.job import Job
from lia_model.serving.jobs.table import JOBS, TURNS, Row, error_columns, is_of
from lia_model.serving.jobs.turns import Line, next_turn, order_of_service, turn_of
from lia_model.serving.messages import LOCAL_VERSION, Error, JobStatus, ModelVersion


def lapsed(db: sa.Connection, now_s: float) -> Iterable[Row]:
    """Return, locked, the running jobs whose lease ran out."""
    running = (JOBS.c.status == JobStatus.RUNNING) & (JOBS.c.lease_until_s < now_s)
    return db.execute(sa.select(JOBS).where(running).with_for_update(skip_locked=True)).mappings().all()


def held(db: sa.Connection, job: Job) -> Row | None:
    """Return, locked, the row of a running job; None if its lease is lost."""
    return db.execute(sa.select(JOBS).where(*_held(job)).with_for_update()).mappings().one_or_none()


def pinned(db: sa.Connection, model: ModelVersion, loads_others: bool) -> Iterable[Row]:
    """Return, locked, the queued jobs that ask for a model that a runner with `model` cannot serve."""
    other_version = (
        JOBS.c.model_version == LOCAL_VERSION if loads_others else JOBS.c.model_version != model.version
    )
    is_other = sa.or_(JOBS.c.model_name != model.name, other_version)
    queued = (JOBS.c.status == JobStatus.QUEUED) & JOBS.c.is_pinned
    return (
        db.execute(sa.select(JOBS).where(queued, is_other).with_for_update(skip_locked=True)).mappings().all()
    )


def model_for(db: sa.Connection, number: int, model: ModelVersion, loads_others: bool) -> ModelVersion:
    """Return the model that a runner with `model` takes for a job: its own version if it can load that."""
    if not loads_others:
        return model
    row = db.execute(sa.select(JOBS.c.model_name, JOBS.c.model_version).where(JOBS.c.number == number)).one()
    # A job may wait since another model was served.
    if row.model_name != model.name or row.model_version == LOCAL_VERSION:
        return model
    return ModelVersion(name=model.name, version=row.model_version)


def other_model(row: Row, served: ModelVersion) -> Error:
    """Return the error of a job that asks for a model that is not served."""
    return Error(
        code="other_model",
        message=f"got models:/{row['model_name']}/{row['model_version']}, which is not served any more; "
        f"leave out model, or give {served.uri}",
    )


def next_number(db: sa.Connection, now_s: float) -> int | None:
    """Return the number of the queued job that starts next, locked, and end its owner's turn; or None."""
    may_start = (JOBS.c.status == JobStatus.QUEUED) & (JOBS.c.not_before_s <= now_s)
    is_batch = JOBS.c.batch.is_not(None)
    found = db.execute(sa.select(JOBS.c.owner, is_batch).where(may_start).distinct()).all()
    if not found:
        return None
    turns = {row.owner: row.number for row in db.execute(sa.select(TURNS))}
    for line in order_of_service((Line(owner, bool(of_batch)) for owner, of_batch in found), turns):
        first = (
            sa.select(JOBS.c.number)
            .where(may_start, is_batch == line.is_batch, is_of(line.owner))
            .order_by(JOBS.c.priority.desc(), JOBS.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        number = db.execute(first).scalar_one_or_none()
        # Other runners may have taken the last job of the line meanwhile.
        if number is not None:
            _end_turn(db, line, next_turn(turns))
            return number
    return None


def num_queued(db: sa.Connection, of_batches: bool, owner: str | None) -> int:
    """Return the number of an owner's queued items of batches, or of the other queued jobs."""
    queued = (JOBS.c.status == JobStatus.QUEUED) & (is_of(owner))
    is_batch = JOBS.c.batch.is_not(None) if of_batches else JOBS.c.batch.is_(None)
    return db.execute(sa.select(sa.func.count()).select_from(JOBS).where(queued, is_batch)).scalar_one()


def num_queued_by_line(db: sa.Connection, of_batches: bool) -> dict[str | None, int]:
    """Return the numbers of queued items of batches, or of the other queued jobs, by owner."""
    is_batch = JOBS.c.batch.is_not(None) if of_batches else JOBS.c.batch.is_(None)
    queued = sa.select(JOBS.c.owner, sa.func.count()).where(JOBS.c.status == JobStatus.QUEUED, is_batch)
    return {row[0]: row[1] for row in db.execute(queued.group_by(JOBS.c.owner))}


def fail(db: sa.Connection, number: int, error: Error, now_s: float) -> None:
    """End a job with an error."""
    change_row(db, number, {"status": JobStatus.FAILED, "ended_s": now_s, **error_columns(error)})


def change_row(db: sa.Connection, number: int, change: dict[str, Any]) -> None:
    """Change the columns of one job."""
    db.execute(sa.update(JOBS).where(JOBS.c.number == number).values(change))


def change_held(db: sa.Connection, job: Job, change: dict[str, Any]) -> bool:
    """Change the columns of a running job; False if its lease is lost."""
    return db.execute(sa.update(JOBS).where(*_held(job)).values(change)).rowcount == 1


def _held(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    return JOBS.c.id == job.id, JOBS.c.lease == job.lease, JOBS.c.status == JobStatus.RUNNING


def _end_turn(db: sa.Connection, line: Line, number: int) -> None:
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    turn = insert(TURNS).values(owner=turn_of(line.owner), number=number)
    db.execute(turn.on_conflict_do_update(index_elements=[TURNS.c.owner], set_={"number": number}))
