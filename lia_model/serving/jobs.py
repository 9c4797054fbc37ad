"""The job store: every submitted animation, in one SQLite file.

A runner holds a job by a lease: a random token that expires unless it is renewed. If a runner dies, its lease
expires and another runner claims the job; `RetryRules` limits how often. Every update carries the token, so a
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
from pathlib import Path

from lia_model.serving.job import Job, Order
from lia_model.serving.job_table import (
    FINAL,
    INSERT,
    fail_pinned_to_others,
    job_of,
    num_queued,
    prepare,
    row_of,
    update_held,
)
from lia_model.serving.messages import Error, JobStatus, ModelVersion
from lia_model.serving.retry_rules import RetryRules

BUSY_TIMEOUT_S = 30.0
"""How long a call waits for another process that writes."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class QueueFullError(Exception):
    """The queue would exceed its limit."""


class KeyReusedError(Exception):
    """An idempotency key came before, with another animation.

    Args:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class JobStoreError(Exception):
    """SQLite cannot read or write the job store; a later call may succeed."""


class JobStoreBusyError(JobStoreError):
    """Another process has held the job store for too long."""


class JobStore:
    """The jobs in the SQLite file at `path`, created if missing.

    Args:
        path: the file.
        rules: how long a lease lasts, and how jobs are tried again.
        clock: time in seconds since the epoch.
        busy_timeout_s: how long a call waits for another process that writes.
        root: paths below it are stored relative to it, so that a store copied with its project names the
            copies of the files; None stores them as they are.

    Raises:
        JobStoreError: the file cannot be read or written, or is held by another process for
            `busy_timeout_s`; so may every method.
    """

    def __init__(
        self,
        path: Path,
        rules: RetryRules | None = None,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        root: Path | None = None,
    ) -> None:
        self.path = path
        self.rules = rules or RetryRules()
        self._clock = clock
        self._busy_timeout_s = busy_timeout_s
        self._root = Path() if root is None else root
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as db:
            prepare(db, clock())

    def submit(self, orders: Mapping[str, Order], max_num_queued: int, batch: str | None = None) -> None:
        """Queue `orders`, given by job id, all or none; they are on the disk when this returns.

        An order whose idempotency key came before is not queued again: its batch gets the earlier job, unless
        that failed, was cancelled or has lost its result.

        Args:
            orders: by job id.
            max_num_queued: of the jobs of batches if this is one, of the others if not, since these keep
                their uploads on the disk.
            batch: id of the batch; None for an upload.

        Raises:
            QueueFullError: more than `max_num_queued` jobs would wait.
            KeyReusedError: a key came before with another animation.
        """
        with self._transaction() as db:
            jobs = {job_id: self._earlier(db, order) or job_id for job_id, order in orders.items()}
            new = {job_id: order for job_id, order in orders.items() if jobs[job_id] == job_id}
            num_new = sum(order.error is None for order in new.values())
            if num_new and num_queued(db, batch is not None) + num_new > max_num_queued:
                raise QueueFullError
            now = self._clock()
            for job_id, order in new.items():
                db.execute(INSERT, row_of(job_id, batch, order, self._root, now))
            if batch is not None:
                items = [(batch, position, job_id) for position, job_id in enumerate(jobs.values())]
                db.executemany("INSERT INTO batch_items VALUES (?, ?, ?)", items)

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none of that id."""
        found = self._select("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def get_batch(self, batch: str) -> list[Job]:
        """Return the batch's jobs in the order of submission; empty if there is no such batch."""
        items = "JOIN batch_items ON batch_items.job = jobs.id WHERE batch_items.batch = ? ORDER BY position"
        return self._select(items, (batch,))

    def newest(self, limit: int, status: JobStatus | None = None, before: int | None = None) -> list[Job]:
        """Return up to `limit` jobs, the newest first: of one status, and submitted before the job `before`.

        Args:
            limit: number of jobs.
            status: of all of them; None is any.
            before: `Job.number` of the last job of the page before; None starts with the newest.
        """
        which = "WHERE ifnull(status = ?, 1) AND ifnull(number < ?, 1) ORDER BY number DESC LIMIT ?"
        return self._select(which, (status, before, limit))

    def num_queued(self) -> int:
        """Return the number of queued jobs."""
        with self._connection() as db:
            return num_queued(db, False) + num_queued(db, True)

    def claim(self, model: ModelVersion) -> Job | None:
        """Claim the oldest queued job that may start, with a new lease, for a runner that has `model`.

        Uploads come before items of batches, which may be many and which nobody watches. Returns None if
        there is no such job. Jobs whose lease ran out are put back first; those that have lost too many
        runners fail, and those that ask for another model.
        """
        with self._transaction() as db:
            now = self._clock()
            lapsed = "SELECT * FROM jobs WHERE status = 'running' AND lease_until_s < ?"
            for row in db.execute(lapsed, (now,)).fetchall():
                # The lease has already kept the job from starting for a while.
                self._put_back(db, row, "losses", self.rules.pause_s(row["losses"]), "its runner died")
            fail_pinned_to_others(db, model, now)
            row = db.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, frames_done = 0, lease = ?,"
                " lease_until_s = ?, model_name = ?, model_version = ? WHERE number ="
                " (SELECT number FROM jobs WHERE status = 'queued' AND not_before_s <= ?"
                " ORDER BY batch IS NOT NULL, number LIMIT 1) RETURNING *",
                (secrets.token_hex(8), now + self.rules.lease_s, model.name, model.version, now),
            ).fetchone()
        return None if row is None else job_of(row, self._root)

    def renew(self, job: Job) -> bool:
        """Renew the lease; False if it is lost: the job was cancelled or claimed by another runner."""
        return self._report(job, "lease_until_s = ?", (self._clock() + self.rules.lease_s,))

    def advance(self, job: Job, frames_done: int, frames_total: int) -> bool:
        """Store the progress; False if the lease is lost."""
        return self._report(job, "frames_done = ?, frames_total = ?", (frames_done, frames_total))

    def finish(self, job: Job, produced: Path, num_frames: int, warnings: Sequence[str] = ()) -> bool:
        """Move `produced` to the job's output as its result; False, nothing moved, if the lease is lost."""
        make_durable(produced)
        with self._transaction() as db:
            change = "status = 'succeeded', frames_done = ?, frames_total = ?, warnings = ?, ended_s = ?"
            values = (num_frames, num_frames, json.dumps(warnings), self._clock())
            done = update_held(db, job, change, values)
            if done:
                produced.replace(job.order.output)
                make_durable(job.order.output.parent)
        return done

    def fail(self, job: Job, error: Error) -> bool:
        """Fail the job with `error`; False if the lease is lost."""
        change = "status = 'failed', error_code = ?, error_message = ?, ended_s = ?"
        return self._report(job, change, (error.code, error.message, self._clock()))

    def release(self, job: Job) -> bool:
        """Queue the job again at once, since its runner stops; False if the lease is lost."""
        return self._report(job, "status = 'queued', lease = NULL", ())

    def give_back(self, job: Job, reason: str) -> None:
        """Queue the job again after an unexpected failure, with a pause, or fail it after too many."""
        with self._transaction() as db:
            held = "SELECT * FROM jobs WHERE id = ? AND lease = ? AND status = 'running'"
            for row in db.execute(held, (job.id, job.lease)).fetchall():
                pause_s = self.rules.pause_s(row["failures"] + 1)
                self._put_back(db, row, "failures", pause_s, reason)

    def cancel(self, job_id: str) -> bool:
        """Cancel a queued or running job; False if it has ended or is unknown.

        A running job stops when its runner next renews the lease.
        """
        change = "UPDATE jobs SET status = 'cancelled', ended_s = ? WHERE id = ?"
        with self._transaction() as db:
            active = f"{change} AND status NOT IN {FINAL}"
            return db.execute(active, (self._clock(), job_id)).rowcount == 1

    def remove(self, job_id: str) -> None:
        """Remove the job; the caller deletes its files."""
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            db.execute("DELETE FROM batch_items WHERE job = ?", (job_id,))

    def uncleared(self) -> list[Job]:
        """Return the ended jobs whose working files may still be there.

        A job ended for less than a lease is left out, since its runner may not have noticed.
        """
        ended = f"WHERE is_cleared = 0 AND status IN {FINAL} AND ended_s < ?"
        return self._select(ended, (self._clock() - self.rules.lease_s,))

    def set_cleared(self, job_id: str) -> None:
        """Note that the working files of an ended job are gone."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET is_cleared = 1 WHERE id = ?", (job_id,))

    def expired(self, keep_s: float) -> list[Job]:
        """Return the jobs that ended more than `keep_s` seconds ago, as did all of their batches' jobs."""
        since = self._clock() - keep_s
        fresh = (
            "SELECT 1 FROM batch_items AS own JOIN batch_items AS other ON other.batch = own.batch"
            " JOIN jobs AS beside ON beside.id = other.job"
            " WHERE own.job = jobs.id AND (beside.ended_s IS NULL OR beside.ended_s >= ?)"
        )
        return self._select(f"WHERE ended_s < ? AND NOT EXISTS ({fresh})", (since, since))

    def _earlier(self, db: sqlite3.Connection, order: Order) -> str | None:
        """Return the id of the job that stands for a repeated order; a job that does not loses its key."""
        if order.idempotency_key is None:
            return None
        row = db.execute("SELECT * FROM jobs WHERE idempotency_key = ?", (order.idempotency_key,)).fetchone()
        if row is None:
            return None
        job = job_of(row, self._root)
        if not job.order.asks_for_the_same_as(order):
            raise KeyReusedError(order.idempotency_key)
        if not job.status.is_final or (job.status is JobStatus.SUCCEEDED and job.order.output.is_file()):
            return job.id
        db.execute("UPDATE jobs SET idempotency_key = NULL WHERE id = ?", (job.id,))
        return None

    def _put_back(
        self, db: sqlite3.Connection, row: sqlite3.Row, counter: str, pause_s: float, reason: str
    ) -> None:
        """Queue a running job again after `pause_s`, or fail it if `counter` reaches its limit."""
        limits = {
            "failures": (self.rules.max_failures, "internal"),
            "losses": (self.rules.max_losses, "worker_lost"),
        }
        limit, code = limits[counter]
        now = self._clock()
        if row[counter] + 1 < limit:
            change = f"status = 'queued', lease = NULL, {counter} = {counter} + 1, not_before_s = ?"
            values: tuple[object, ...] = (now + pause_s,)
        else:
            change = "status = 'failed', error_code = ?, error_message = ?, ended_s = ?"
            values = (code, f"given up after {limit} attempts: {reason}", now)
        db.execute(f"UPDATE jobs SET {change} WHERE number = ?", (*values, row["number"]))

    def _select(self, which: str, values: Sequence[object]) -> list[Job]:
        with self._connection() as db:
            rows = db.execute(f"SELECT jobs.* FROM jobs {which}", values).fetchall()
        return [job_of(row, self._root) for row in rows]

    def _report(self, job: Job, change: str, values: Sequence[object]) -> bool:
        with self._transaction() as db:
            return update_held(db, job, change, values)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            # One connection a call is safe for threads and processes, and opening one takes microseconds.
            db = sqlite3.connect(self.path, isolation_level=None)
            try:
                db.row_factory = sqlite3.Row
                db.execute(f"PRAGMA busy_timeout = {round(1000 * self._busy_timeout_s)}")
                db.execute("PRAGMA synchronous = FULL")
                yield db
            finally:
                db.close()
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            # Our own mistakes, which trying again does not mend.
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from None

    def _explained(self, error: sqlite3.Error) -> JobStoreError:
        # The lowest byte is the primary code; the others say which variety it is.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
            return JobStoreBusyError(
                f"got no access to {self.path} within {self._busy_timeout_s:g} s, since another process "
                "writes to it; find it with `fuser` and stop it, or try again"
            )
        return JobStoreError(
            f"got `{error}` from SQLite for {self.path}, which must be a readable and writable job "
            "store with space on its disk; mend the disk or restore the file"
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE waits for another writer; a transaction that reads first would fail instead.
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def make_durable(path: Path) -> None:
    """Sync the file or folder at `path` to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
