"""The tables of the job store: their schema, its older versions, and a job as a row and back."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from lia_model.animation.options import AnimationOptions
from lia_model.serving.job import Job, Order
from lia_model.serving.messages import Error, JobStatus, ModelVersion

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    batch TEXT,
    source TEXT NOT NULL,
    driving TEXT NOT NULL,
    output TEXT NOT NULL,
    options TEXT NOT NULL,
    model_name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    status TEXT NOT NULL,
    frames_done INTEGER NOT NULL DEFAULT 0,
    frames_total INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error_message TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    lease TEXT,
    lease_until_s REAL
);
"""
_ADDED_COLUMNS = {
    "warnings": "TEXT NOT NULL DEFAULT '[]'",
    "failures": "INTEGER NOT NULL DEFAULT 0",
    "losses": "INTEGER NOT NULL DEFAULT 0",
    "not_before_s": "REAL NOT NULL DEFAULT 0",
    "submitted_s": "REAL",
    "ended_s": "REAL",
    "is_cleared": "INTEGER NOT NULL DEFAULT 0",
    "idempotency_key": "TEXT",
    "is_pinned": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns that tables of older versions lack."""
_BATCH_ITEMS = """
CREATE TABLE batch_items (batch TEXT NOT NULL, position INTEGER NOT NULL, job TEXT NOT NULL,
    PRIMARY KEY (batch, position))
"""
"""Apart from `jobs`, since a repeated item joins a later batch too."""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number)",
    "CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (ended_s)",
    "CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (idempotency_key)",
    "CREATE INDEX IF NOT EXISTS batches_by_job ON batch_items (job)",
)
FINAL = "('succeeded', 'failed', 'cancelled')"
INSERT = """
INSERT INTO jobs (id, batch, source, driving, output, options, model_name, model_version, status, error_code,
    error_message, idempotency_key, is_pinned, submitted_s, ended_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def prepare(db: sqlite3.Connection, now_s: float) -> None:
    """Create what is missing, and bring tables of an older version up to date.

    The jobs of an older version have no times; theirs are `now_s`.
    """
    db.execute(_TABLES)
    columns = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
    for name, kind in _ADDED_COLUMNS.items():
        if name not in columns:
            db.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
    if "options" not in columns:
        _gather_options(db)
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'batch_items'").fetchone():
        db.execute(_BATCH_ITEMS)
        db.execute("INSERT INTO batch_items SELECT batch, number, id FROM jobs WHERE batch IS NOT NULL")
    for index in _INDEXES:
        db.execute(index)
    db.execute("UPDATE jobs SET submitted_s = ? WHERE submitted_s IS NULL", (now_s,))
    db.execute(f"UPDATE jobs SET ended_s = ? WHERE ended_s IS NULL AND status IN {FINAL}", (now_s,))


def _gather_options(db: sqlite3.Connection) -> None:
    """Replace a column for each option by one for all."""
    db.execute("ALTER TABLE jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}'")
    crop = "json(CASE crop WHEN 0 THEN 'false' ELSE 'true' END)"
    db.execute(f"UPDATE jobs SET options = json_object('mode', mode, 'crop', {crop})")
    for column in ("mode", "crop"):
        db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")


def row_of(job_id: str, batch: str | None, order: Order, root: Path, now_s: float) -> tuple[object, ...]:
    """Return the values of `INSERT`; paths below `root` are made relative to it."""
    paths = (order.source, order.driving, order.output)
    return (
        job_id,
        batch,
        *(str(path.relative_to(root) if path.is_relative_to(root) else path) for path in paths),
        order.options.model_dump_json(),
        order.model.name,
        order.model.version,
        JobStatus.QUEUED if order.error is None else JobStatus.FAILED,
        None if order.error is None else order.error.code,
        None if order.error is None else order.error.message,
        order.idempotency_key,
        order.is_pinned,
        now_s,
        None if order.error is None else now_s,
    )


def job_of(row: sqlite3.Row, root: Path) -> Job:
    """Return the job that a row of `jobs` describes."""
    failed = row["error_code"] is not None
    order = Order(
        source=root / row["source"],
        driving=root / row["driving"],
        output=root / row["output"],
        options=AnimationOptions.model_validate_json(row["options"]),
        model=ModelVersion(name=row["model_name"], version=row["model_version"]),
        error=Error(code=row["error_code"], message=row["error_message"]) if failed else None,
        idempotency_key=row["idempotency_key"],
        is_pinned=bool(row["is_pinned"]),
    )
    return Job(
        number=row["number"],
        id=row["id"],
        batch=row["batch"],
        order=order,
        status=JobStatus(row["status"]),
        frames_done=row["frames_done"],
        frames_total=row["frames_total"],
        attempts=row["attempts"],
        lease=row["lease"],
        submitted_s=row["submitted_s"],
        ended_s=row["ended_s"],
        warnings=tuple(json.loads(row["warnings"])),
    )


def num_queued(db: sqlite3.Connection, of_batches: bool) -> int:
    """Return the number of queued items of batches, or of other queued jobs."""
    queued = "SELECT count(*) FROM jobs WHERE status = 'queued' AND (batch IS NOT NULL) = ?"
    return int(db.execute(queued, (of_batches,)).fetchone()[0])


def fail_pinned_to_others(db: sqlite3.Connection, model: ModelVersion, now_s: float) -> None:
    """Fail the queued jobs that ask for a version other than `model`."""
    db.execute(
        "UPDATE jobs SET status = 'failed', error_code = 'other_model', error_message = 'got models:/' ||"
        " model_name || '/' || model_version || ', which is not served any more; leave out model, or give '"
        " || ?, ended_s = ? WHERE status = 'queued' AND is_pinned = 1"
        " AND (model_name != ? OR model_version != ?)",
        (f"models:/{model.name}/{model.version}", now_s, model.name, model.version),
    )


def update_held(db: sqlite3.Connection, job: Job, change: str, values: Sequence[object]) -> bool:
    """Change a running job; False if its lease is lost."""
    held = "id = ? AND lease = ? AND status = 'running'"
    return db.execute(f"UPDATE jobs SET {change} WHERE {held}", (*values, job.id, job.lease)).rowcount == 1
