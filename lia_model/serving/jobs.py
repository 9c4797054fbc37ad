"""The job store: every submitted animation, in one SQLite file.

A runner holds a job by a lease: a random token that expires unless it is renewed. If a runner dies, its lease
expires and another runner claims the job, at most `max_attempts` times. Every update carries the token, so a
runner that has lost its lease can change nothing. The result appears by one rename, inside the transaction
that marks the job as done: a job may run twice but has one visible result.

The file is in WAL mode and synced at every commit. Processes of one machine may share it; it is not safe on a
network file system. Times are seconds since the epoch, since they outlive processes.
"""

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lia_model.animation.options import AnimationOptions
from lia_model.serving.messages import Error, JobStatus, ModelVersion

LEASE_S = 30.0
"""How long a runner keeps a job without renewing its lease."""
MAX_ATTEMPTS = 3
"""How often a job is started before it fails."""

BUSY_TIMEOUT_S = 30.0
"""How long a call waits for another process that writes."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_SCHEMA = """
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
    warnings TEXT NOT NULL DEFAULT '[]',
    attempts INTEGER NOT NULL DEFAULT 0,
    lease TEXT,
    lease_until_s REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE INDEX IF NOT EXISTS jobs_by_batch ON jobs (batch, number);
"""


class QueueFullError(Exception):
    """The queue would exceed its limit."""


class JobStoreBusyError(Exception):
    """Another process has held the job store for too long; a later call may succeed."""


@dataclass(frozen=True)
class Order:
    """What to animate; `error` marks an order that failed before it started, kept for the record."""

    source: Path
    driving: Path
    output: Path
    options: AnimationOptions
    model: ModelVersion
    error: Error | None = None


@dataclass(frozen=True)
class Job:
    """One row of the store, as it was when read."""

    id: str
    batch: str | None
    order: Order
    status: JobStatus
    frames_done: int
    frames_total: int
    attempts: int
    lease: str | None
    warnings: tuple[str, ...] = ()
    """What was wrong with the files of a job that succeeded all the same."""

    @property
    def folder(self) -> Path:
        """Return where the runner writes: beside the result, so that a rename publishes it."""
        return self.order.output.parent / f".{self.id}"


class JobStore:
    """The jobs in the SQLite file at `path`, created if missing."""

    def __init__(
        self,
        path: Path,
        lease_s: float = LEASE_S,
        max_attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        root: Path | None = None,
    ) -> None:
        """Open the store; leases last `lease_s` seconds of `clock`.

        Paths below `root` are stored relative to it, so that a store copied with its project names the copies
        of the files.

        Raises:
            JobStoreBusyError: another process holds the file for `busy_timeout_s`; so may every method.
        """
        self._busy_timeout_s = busy_timeout_s
        self.path = path
        self.lease_s = lease_s
        self.max_attempts = max_attempts
        self._clock = clock
        self._root = Path() if root is None else root
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
        with self._transaction() as db:
            _migrate(db)

    def submit(self, orders: Mapping[str, Order], max_num_queued: int, batch: str | None = None) -> None:
        """Queue `orders`, given by job id, all or none; they are on the disk when this returns.

        Raises:
            QueueFullError: more than `max_num_queued` jobs would wait.
        """
        with self._transaction() as db:
            num_new = sum(order.error is None for order in orders.values())
            if num_new and _num_queued(db) + num_new > max_num_queued:
                raise QueueFullError
            db.executemany(
                "INSERT INTO jobs (id, batch, source, driving, output, options, model_name, model_version,"
                " status, error_code, error_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_row_of(job_id, batch, order, self._root) for job_id, order in orders.items()],
            )

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none of that id."""
        with self._connection() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job_of(row, self._root)

    def get_batch(self, batch: str) -> list[Job]:
        """Return the batch's jobs in the order of submission; empty if there is no such batch."""
        with self._connection() as db:
            rows = db.execute("SELECT * FROM jobs WHERE batch = ? ORDER BY number", (batch,)).fetchall()
        return [_job_of(row, self._root) for row in rows]

    def num_queued(self) -> int:
        """Return the number of queued jobs."""
        with self._connection() as db:
            return _num_queued(db)

    def claim(self) -> Job | None:
        """Claim the oldest queued job, with a new lease; None if the queue is empty.

        Jobs whose lease ran out are put back first; those that were begun `max_attempts` times fail.
        """
        with self._transaction() as db:
            now = self._clock()
            lapsed = "status = 'running' AND lease_until_s < ?"
            self._end_spent(
                db, lapsed, (now,), Error(code="worker_lost", message=self._given_up("its runner died"))
            )
            db.execute(f"UPDATE jobs SET status = 'queued', lease = NULL WHERE {lapsed}", (now,))
            row = db.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, frames_done = 0, lease = ?,"
                " lease_until_s = ?"
                " WHERE number = (SELECT min(number) FROM jobs WHERE status = 'queued') RETURNING *",
                (secrets.token_hex(8), now + self.lease_s),
            ).fetchone()
        return None if row is None else _job_of(row, self._root)

    def renew(self, job: Job) -> bool:
        """Renew the lease; False if it is lost: the job was cancelled or claimed by another runner."""
        return self._report(job, "lease_until_s = ?", (self._clock() + self.lease_s,))

    def advance(self, job: Job, frames_done: int, frames_total: int) -> bool:
        """Store the progress; False if the lease is lost."""
        return self._report(job, "frames_done = ?, frames_total = ?", (frames_done, frames_total))

    def finish(self, job: Job, produced: Path, num_frames: int, warnings: Sequence[str] = ()) -> bool:
        """Move `produced` to the job's output as its result; False, nothing moved, if the lease is lost."""
        make_durable(produced)
        with self._transaction() as db:
            change = "status = 'succeeded', frames_done = ?, frames_total = ?, warnings = ?"
            done = _update_held(db, job, change, (num_frames, num_frames, json.dumps(warnings)))
            if done:
                produced.replace(job.order.output)
                make_durable(job.order.output.parent)
        return done

    def fail(self, job: Job, error: Error) -> bool:
        """Fail the job with `error`; False if the lease is lost."""
        change = "status = 'failed', error_code = ?, error_message = ?"
        return self._report(job, change, (error.code, error.message))

    def give_back(self, job: Job, reason: str) -> None:
        """Queue the job again after an unexpected failure, or fail it if no attempts are left."""
        spent = Error(code="internal", message=self._given_up(reason))
        with self._transaction() as db:
            self._end_spent(db, "status = 'running' AND id = ? AND lease = ?", (job.id, job.lease), spent)
            _update_held(db, job, "status = 'queued', lease = NULL", ())

    def cancel(self, job_id: str) -> bool:
        """Cancel a queued or running job; False if it has ended or is unknown.

        A running job stops when its runner next renews the lease.
        """
        with self._transaction() as db:
            change = "UPDATE jobs SET status = 'cancelled' WHERE id = ? AND status IN ('queued', 'running')"
            return db.execute(change, (job_id,)).rowcount == 1

    def remove(self, job_id: str) -> None:
        """Remove the job; the caller deletes its files."""
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def _given_up(self, reason: str) -> str:
        return f"given up after {self.max_attempts} attempts: {reason}"

    def _end_spent(self, db: sqlite3.Connection, which: str, values: Sequence[object], error: Error) -> None:
        db.execute(
            "UPDATE jobs SET status = 'failed', error_code = ?, error_message = ?"
            f" WHERE {which} AND attempts >= ?",
            (error.code, error.message, *values, self.max_attempts),
        )

    def _report(self, job: Job, change: str, values: Sequence[object]) -> bool:
        with self._transaction() as db:
            return _update_held(db, job, change, values)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # One connection a call is safe for threads and processes, and opening one takes microseconds.
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute(f"PRAGMA busy_timeout = {round(1000 * self._busy_timeout_s)}")
            db.execute("PRAGMA synchronous = FULL")
            yield db
        except sqlite3.OperationalError as error:
            # The lowest byte is the primary code; the others say which variety it is.
            if error.sqlite_errorcode & 0xFF not in _BUSY:
                raise
            raise JobStoreBusyError(
                f"got no access to {self.path} within {self._busy_timeout_s:g} s, since another process "
                "writes to it; find it with `fuser` and stop it, or try again"
            ) from None
        finally:
            db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE waits for another writer; a transaction that reads first would fail instead.
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def new_id() -> str:
    """Return a new id for a job or a batch that cannot be guessed."""
    return secrets.token_hex(16)


def make_durable(path: Path) -> None:
    """Sync the file or folder at `path` to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def count(statuses: Sequence[JobStatus]) -> dict[JobStatus, int]:
    """Return the number of jobs by status; every status is a key."""
    return {status: statuses.count(status) for status in JobStatus}


def summarize(counts: Mapping[JobStatus, int]) -> JobStatus:
    """Return the status of a batch; see `messages.BatchStatus`."""
    num_items = sum(counts.values())
    if counts[JobStatus.QUEUED] == num_items:
        return JobStatus.QUEUED
    if counts[JobStatus.QUEUED] or counts[JobStatus.RUNNING]:
        return JobStatus.RUNNING
    worst_first = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SUCCEEDED)
    return next(status for status in worst_first if counts[status])


def _migrate(db: sqlite3.Connection) -> None:
    """Bring a table of an older version, without warnings or with a column for each option, up to date."""
    columns = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
    if "warnings" not in columns:
        db.execute("ALTER TABLE jobs ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]'")
    if "options" in columns:
        return
    db.execute("ALTER TABLE jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}'")
    crop = "json(CASE crop WHEN 0 THEN 'false' ELSE 'true' END)"
    db.execute(f"UPDATE jobs SET options = json_object('mode', mode, 'crop', {crop})")
    for column in ("mode", "crop"):
        db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")


def _num_queued(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone()[0])


def _update_held(db: sqlite3.Connection, job: Job, change: str, values: Sequence[object]) -> bool:
    held = "id = ? AND lease = ? AND status = 'running'"
    return db.execute(f"UPDATE jobs SET {change} WHERE {held}", (*values, job.id, job.lease)).rowcount == 1


def _row_of(job_id: str, batch: str | None, order: Order, root: Path) -> tuple[object, ...]:
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
    )


def _job_of(row: sqlite3.Row, root: Path) -> Job:
    failed = row["error_code"] is not None
    order = Order(
        source=root / row["source"],
        driving=root / row["driving"],
        output=root / row["output"],
        options=AnimationOptions.model_validate_json(row["options"]),
        model=ModelVersion(name=row["model_name"], version=row["model_version"]),
        error=Error(code=row["error_code"], message=row["error_message"]) if failed else None,
    )
    return Job(
        id=row["id"],
        batch=row["batch"],
        order=order,
        status=JobStatus(row["status"]),
        frames_done=row["frames_done"],
        frames_total=row["frames_total"],
        attempts=row["attempts"],
        lease=row["lease"],
        warnings=tuple(json.loads(row["warnings"])),
    )
