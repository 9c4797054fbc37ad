"""Owners and priorities of jobs, turns of owners, times of starts, and what each job keeps on the disk."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, the table and the indexes."""
    op.add_column("jobs", sa.Column("owner", sa.Text()))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("started_s", sa.Double()))
    op.add_column("jobs", sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "turns",
        sa.Column("owner", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.create_index("jobs_by_owner", "jobs", ["owner", "number"])
    # A client's key is its owner's own.
    op.drop_index("jobs_by_key", "jobs")
    owner = sa.func.coalesce(sa.column("owner"), sa.literal_column("''"))
    op.create_index("jobs_by_key", "jobs", ["idempotency_key", owner], unique=True)
