import sqlite3
from contextlib import closing

import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.jobs import JobStore
from lia_model.serving.messages import JobStatus, ModelVersion

OLD_TABLE = """
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
OLD_OPTIONS = {
    "mode TEXT NOT NULL, crop INTEGER NOT NULL": ("mode, crop", "'absolute', 0"),
    "options TEXT NOT NULL, warnings TEXT NOT NULL DEFAULT '[]'": (
        "options",
        """'{"mode": "absolute", "crop": false}'""",
    ),
}
"""Columns of the options in each older version, and how they were filled."""


@pytest.mark.parametrize("options", OLD_OPTIONS)
def test_a_store_of_an_older_version_keeps_its_jobs_and_batches(tmp_path, options):
    path = tmp_path / "jobs.sqlite"
    names, values = OLD_OPTIONS[options]
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(OLD_TABLE.format(options=options))
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
    store = JobStore(path, clock=lambda: 5000.0)
    jobs = store.get_batch("batch")
    assert [job.id for job in jobs] == ["a", "c"]
    assert [job.ended_s for job in jobs] == [5000.0, None]
    assert {job.order.options for job in jobs} == {AnimationOptions(mode="absolute", crop=False)}
    assert store.get("b").status is JobStatus.FAILED
    later = JobStore(path, clock=lambda: 9000.0)
    assert later.get("a").ended_s == 5000.0
    assert later.claim(ModelVersion(name="lia", version="2")).id == "c"
    assert [job.id for job in later.get_batch("batch")] == ["a", "c"]
