import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from lia_model.animation.options import AnimationOptions
from lia_model.serving.database import METADATA, open_database, sqlite_url
from lia_model.serving.database.upgrade import migrations_config
from lia_model.serving.jobs import JobStore
from lia_model.serving.messages import JobStatus, ModelVersion

FIRST_TABLE = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, batch TEXT, source TEXT NOT NULL,
    driving TEXT NOT NULL, output TEXT NOT NULL, {options}, model_name TEXT NOT NULL,
    model_version TEXT NOT NULL, status TEXT NOT NULL, frames_done INTEGER NOT NULL DEFAULT 0,
    frames_total INTEGER NOT NULL DEFAULT 0, error_code TEXT, error_message TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, lease TEXT, lease_until_s REAL
);
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE INDEX jobs_by_batch ON jobs (batch, number);
"""
LATEST_COLUMNS = """
ALTER TABLE jobs ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]';
ALTER TABLE jobs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN not_before_s REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN submitted_s REAL;
ALTER TABLE jobs ADD COLUMN ended_s REAL;
ALTER TABLE jobs ADD COLUMN is_cleared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN idempotency_key TEXT;
ALTER TABLE jobs ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0;
CREATE TABLE batch_items (batch TEXT NOT NULL, position INTEGER NOT NULL, job TEXT NOT NULL,
    PRIMARY KEY (batch, position));
INSERT INTO batch_items SELECT batch, number, id FROM jobs WHERE batch IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (ended_s);
CREATE UNIQUE INDEX jobs_by_key ON jobs (idempotency_key);
CREATE INDEX batches_by_job ON batch_items (job);
"""
"""What the last form before Alembic had beside the first table."""
FORMS = {
    "a column an option": ("mode TEXT NOT NULL, crop INTEGER NOT NULL", "mode, crop", "'absolute', 0", ""),
    "options in one": ("options TEXT NOT NULL", "options", """'{"mode": "absolute", "crop": false}'""", ""),
    "the last": (
        "options TEXT NOT NULL",
        "options",
        """'{"mode": "absolute", "crop": false}'""",
        LATEST_COLUMNS,
    ),
}
"""Columns of the options in each form of the file, their names, how they were filled, and what was added."""


def write_old_file(path: Path, form: str) -> None:
    options, names, values, more = FORMS[form]
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(FIRST_TABLE.format(options=options))
        for job_id, batch, status in (
            ("a", "batch", "succeeded"),
            ("b", None, "failed"),
            ("c", "batch", "queued"),
        ):
            db.execute(
                f"INSERT INTO jobs (id, batch, source, driving, output, {names}, model_name, model_version,"
                f" status) VALUES (?, ?, 's', 'd', 'o', {values}, 'lia', '1', ?)",
                (job_id, batch, status),
            )
        db.executescript(more)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_from_before_the_migrations_keeps_its_jobs_and_batches(tmp_path, form):
    path = tmp_path / "jobs.sqlite"
    write_old_file(path, form)
    opened_s = time.time()
    store = JobStore(open_database(sqlite_url(path)))
    jobs = store.get_batch("batch")
    assert [job.id for job in jobs] == ["a", "c"]
    ended_s = jobs[0].ended_s
    assert opened_s - 1 <= ended_s <= time.time()
    assert jobs[1].ended_s is None
    assert {job.order.options for job in jobs} == {AnimationOptions(mode="absolute", crop=False)}
    assert store.get("b").status is JobStatus.FAILED
    later = JobStore(open_database(sqlite_url(path)))
    assert later.get("a").ended_s == ended_s
    assert later.claim(ModelVersion(name="lia", version="2")).id == "c"
    assert [job.id for job in later.get_batch("batch")] == ["a", "c"]


# SQLite does not tell what an index of an expression is of.
@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_make_the_tables_that_the_program_describes(database):
    with database.reading() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_the_migrations_form_one_line(database):
    with database.reading() as db:
        scripts = ScriptDirectory.from_config(migrations_config(db))
        numbers = [script.revision for script in scripts.walk_revisions()][::-1]
    assert all(int(before) + 1 == int(after) for before, after in pairwise(numbers))


OPEN = "import sys; from lia_model.serving.database import open_database; open_database(sys.argv[1])"


def test_processes_that_start_at_once_upgrade_an_empty_database_once(database_url):
    starting = [subprocess.Popen([sys.executable, "-c", OPEN, database_url]) for _ in range(3)]
    assert [process.wait() for process in starting] == [0, 0, 0]
    database = open_database(database_url)
    assert JobStore(database).num_queued() == 0
    database.close()


def test_a_database_of_a_newer_version_is_refused(database, database_url):
    with database.writing() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="install the version that last used it"):
        open_database(database_url)
