"""The tables of the jobs, as the service had them before it used Alembic.

A SQLite file of that time already has them, perhaps of a still older form: it gets what it lacks.
"""

import time

import sqlalchemy as sa
from alembic import op

from lia_model.serving.database.schema import JSON_COLUMN

revision = "0001"
down_revision = None

ADDED_COLUMNS = {
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
"""Columns that older forms lack."""


def upgrade() -> None:
    """Create the tables, or complete those of an older form."""
    tables = sa.inspect(op.get_bind()).get_table_names()
    if "jobs" in tables:
        _complete(has_items="batch_items" in tables)
    else:
        _create()
    op.create_index("jobs_by_status", "jobs", ["status", "number"], if_not_exists=True)
    op.create_index("jobs_by_end", "jobs", ["ended_s"], if_not_exists=True)
    op.create_index("jobs_by_key", "jobs", ["idempotency_key"], unique=True, if_not_exists=True)
    op.create_index("batches_by_job", "batch_items", ["job"], if_not_exists=True)


def _create() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("batch", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("driving", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("options", JSON_COLUMN, nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("frames_done", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("frames_total", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lease", sa.Text()),
        sa.Column("lease_until_s", sa.Double()),
        sa.Column("warnings", JSON_COLUMN, nullable=False, server_default="[]"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("losses", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("not_before_s", sa.Double(), nullable=False, server_default="0"),
        sa.Column("submitted_s", sa.Double()),
        sa.Column("ended_s", sa.Double()),
        sa.Column("is_cleared", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("is_pinned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "batch_items",
        sa.Column("batch", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("job", sa.Text(), nullable=False),
    )


def _complete(has_items: bool) -> None:
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("jobs")}
    for name, kind in ADDED_COLUMNS.items():
        if name not in columns:
            op.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
    if "options" not in columns:
        _gather_options()
    if not has_items:
        op.execute(
            "CREATE TABLE batch_items (batch TEXT NOT NULL, position INTEGER NOT NULL, job TEXT NOT NULL,"
            " PRIMARY KEY (batch, position))"
        )
        op.execute("INSERT INTO batch_items SELECT batch, number, id FROM jobs WHERE batch IS NOT NULL")
    # Jobs of older forms have no times; what has ended expires from now on.
    now_s = time.time()
    op.execute(f"UPDATE jobs SET submitted_s = {now_s} WHERE submitted_s IS NULL")
    final = "('succeeded', 'failed', 'cancelled')"
    op.execute(f"UPDATE jobs SET ended_s = {now_s} WHERE ended_s IS NULL AND status IN {final}")


def _gather_options() -> None:
    """Replace a column for each option by one for all."""
    op.execute("ALTER TABLE jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}'")
    crop = "json(CASE crop WHEN 0 THEN 'false' ELSE 'true' END)"
    op.execute(f"UPDATE jobs SET options = json_object('mode', mode, 'crop', {crop})")
    for column in ("mode", "crop"):
        op.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
