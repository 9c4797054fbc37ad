"""The tables of the job store, and a job as a row and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lia_model.animation.options import AnimationOptions
from lia_model.serving.database.schema import JSON_COLUMN, METADATA
from lia_model.serving.jobs.job import Job, Order
from lia_model.serving.messages import Error, JobStatus, ModelVersion

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text),
    sa.Column("batch", sa.Text),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("driving", sa.Text, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("options", JSON_COLUMN, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("is_pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("content", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("frames_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("frames_total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("warnings", JSON_COLUMN, nullable=False, server_default="[]"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease", sa.Text),
    sa.Column("lease_until_s", sa.Double),
    sa.Column("not_before_s", sa.Double, nullable=False, server_default="0"),
    sa.Column("submitted_s", sa.Double),
    sa.Column("started_s", sa.Double),
    sa.Column("ended_s", sa.Double),
    sa.Column("is_cleared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("correlation_id", sa.Text),
    sa.Column("trace_parent", sa.Text),
    sqlite_autoincrement=True,
)
sa.Index("jobs_by_status", JOBS.c.status, JOBS.c.number)
sa.Index("jobs_by_end", JOBS.c.ended_s)
sa.Index("jobs_by_owner", JOBS.c.owner, JOBS.c.number)
# A key is its owner's own; null would be unlike null.
sa.Index(
    "jobs_by_key",
    JOBS.c.idempotency_key,
    sa.func.coalesce(JOBS.c.owner, sa.literal_column("''")),
    unique=True,
)

BATCH_ITEMS = sa.Table(
    "batch_items",
    METADATA,
    sa.Column("batch", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
)
"""Apart from `jobs`, since a repeated item joins a later batch too."""
sa.Index("batches_by_job", BATCH_ITEMS.c.job)

TURNS = sa.Table(
    "turns",
    METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""The latest turn of each owner; see `turns`."""

Row = Mapping[Any, Any]
"""A row of `jobs` by the names of its columns."""
_SAME_IN_ORDER = (
    "idempotency_key", "content", "is_pinned", "owner", "priority", "stored_bytes", "correlation_id",
    "trace_parent",
)  # fmt: skip
FINAL = [status for status in JobStatus if status.is_final]


def row_of(job_id: str, batch: str | None, order: Order, root: Path, now_s: float) -> dict[str, Any]:
    """Return the columns of a new job; paths below `root` are made relative to it."""
    return {
        "id": job_id,
        "owner": order.owner,
        "batch": batch,
        **{name: _relative(getattr(order, name), root) for name in ("source", "driving", "output")},
        "options": order.options.model_dump(mode="json"),
        "model_name": order.model.name,
        "model_version": order.model.version,
        "is_pinned": order.is_pinned,
        "idempotency_key": order.idempotency_key,
        "content": order.content,
        "priority": order.priority,
        "stored_bytes": order.stored_bytes,
        "correlation_id": order.correlation_id,
        "trace_parent": order.trace_parent,
        "status": JobStatus.QUEUED if order.error is None else JobStatus.FAILED,
        **(
            {"error_code": None, "error_message": None} if order.error is None else error_columns(order.error)
        ),
        "submitted_s": now_s,
        "ended_s": None if order.error is None else now_s,
    }


def job_of(row: Row, root: Path) -> Job:
    """Return the job that a row of `jobs` describes."""
    failed = row["error_code"] is not None
    order = Order(
        source=root / row["source"],
        driving=root / row["driving"],
        output=root / row["output"],
        options=AnimationOptions.model_validate(row["options"]),
        model=ModelVersion(name=row["model_name"], version=row["model_version"]),
        error=Error(code=row["error_code"], message=row["error_message"]) if failed else None,
        **{name: row[name] for name in _SAME_IN_ORDER},
    )
    same = ("number", "id", "batch", "frames_done", "frames_total", "attempts", "failures", "losses", "lease")
    return Job(
        order=order,
        status=JobStatus(row["status"]),
        warnings=tuple(row["warnings"]),
        **{name: row[name] for name in (*same, "submitted_s", "started_s", "ended_s")},
    )


def is_of(owner: str | None) -> sa.ColumnElement[bool]:
    """Return the condition that a job is the owner's."""
    return JOBS.c.owner.is_(None) if owner is None else JOBS.c.owner == owner


def error_columns(error: Error | None) -> dict[str, Any]:
    """Return the columns of an error; PostgreSQL stores no null characters."""
    if error is None:
        return {"error_code": None, "error_message": None}
    return {"error_code": error.code, "error_message": error.message.replace("\0", "")}


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
