"""The job store: every submitted animation, in the service's database.

A runner holds a job by a lease: a random token that expires unless it is renewed. If a runner dies, its lease
expires and another runner claims the job; `RetryRules` limits how often. Every update carries the token, so a
runner that has lost its lease can change nothing. The result appears by one rename, inside the transaction
that marks the job as done: a job may run twice but has one visible result.

Times are seconds since the epoch, since they outlive processes, by the clock of the database's machine.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lia_model.serving.database import Database
from lia_model.serving.jobs import queue
from lia_model.serving.jobs.backlog import time_to_room_s
from lia_model.serving.jobs.errors import KeyReusedError, QueueFullError
from lia_model.serving.jobs.expiry import select_expired
from lia_model.serving.jobs.figures import JobFigures, count_active, read_figures
from lia_model.serving.jobs.job import Job, Order
from lia_model.serving.jobs.quota import to_remove
from lia_model.serving.jobs.retry_rules import RetryRules
from lia_model.serving.jobs.table import BATCH_ITEMS, FINAL, JOBS, Row, error_columns, is_of, job_of, row_of
from lia_model.serving.messages import Error, JobStatus, ModelVersion
from preprocessing.storage.files import make_durable


class JobStore:
    """The jobs in a database; every method may raise `DatabaseError`.

    Args:
        database: where they are.
        rules: how long a lease lasts, and how jobs are tried again.
        clock: time in seconds since the epoch; None is the clock of the database's machine.
        root: paths below it are stored relative to it, so that a store copied with its project names the
            copies of the files; None stores them as they are.
        has_result: returns whether the result of a job that has succeeded is still there; by default as a
            file of this machine.
    """

    def __init__(
        self,
        database: Database,
        rules: RetryRules | None = None,
        clock: Callable[[], float] | None = None,
        root: Path | None = None,
        has_result: Callable[[Job], bool] = lambda job: job.order.output.is_file(),
    ) -> None:
        self.database = database
        self.rules = rules or RetryRules()
        self._clock = clock
        self._root = Path() if root is None else root
        self._has_result = has_result

    def submit(
        self, orders: Mapping[str, Order], max_num_queued: int, batch: str | None = None
    ) -> dict[str, str]:
        """Queue `orders`, given by job id, all or none; they are on the disk when this returns.

        An order whose idempotency key came before from its owner is not queued again: the earlier job stands
        for it, unless that failed, was cancelled or has lost its result. Returns the id of the job for each
        order.

        Args:
            orders: of one owner, by job id.
            max_num_queued: of the owner's jobs of batches if this is one, of the others if not, since these
                keep their uploads on the disk.
            batch: id of the batch; None for an upload.

        Raises:
            QueueFullError: more than `max_num_queued` jobs would wait.
            KeyReusedError: a key came before with another animation.
        """
        # The lock keeps others from adding to the numbers and keys that this decides by.
        with self.database.writing("submit") as db:
            jobs = {job_id: self._earlier(db, order) or job_id for job_id, order in orders.items()}
            new = {job_id: order for job_id, order in orders.items() if jobs[job_id] == job_id}
            num_new = sum(order.error is None for order in new.values())
            owner = next((order.owner for order in orders.values()), None)
            num_over = queue.num_queued(db, batch is not None, owner) + num_new - max_num_queued
            if num_new and num_over > 0:
                raise QueueFullError(num_over)
            now = self._now(db)
            if new:
                rows = [row_of(job_id, batch, order, self._root, now) for job_id, order in new.items()]
                db.execute(sa.insert(JOBS), rows)
            if batch is not None:
                items = [
                    {"batch": batch, "position": position, "job": job_id}
                    for position, job_id in enumerate(jobs.values())
                ]
                db.execute(sa.insert(BATCH_ITEMS), items)
        return jobs

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none of that id."""
        found = self._select(sa.select(JOBS).where(JOBS.c.id == _word(job_id)))
        return found[0] if found else None

    def get_batch(self, batch: str) -> list[Job]:
        """Return the batch's jobs in the order of submission; empty if there is no such batch."""
        items = sa.select(JOBS).join(BATCH_ITEMS, BATCH_ITEMS.c.job == JOBS.c.id)
        return self._select(items.where(BATCH_ITEMS.c.batch == _word(batch)).order_by(BATCH_ITEMS.c.position))

    def newest(
        self,
        limit: int,
        status: JobStatus | None = None,
        before: int | None = None,
        owner: str | None = None,
    ) -> list[Job]:
        """Return up to `limit` jobs, the newest first: of one status and owner, submitted before another.

        Args:
            limit: number of jobs.
            status: of all of them; None is any.
            before: `Job.number` of the last job of the page before; None starts with the newest.
            owner: of all of them; None is any.
        """
        wanted = sa.select(JOBS).order_by(JOBS.c.number.desc()).limit(limit)
        if status is not None:
            wanted = wanted.where(JOBS.c.status == status)
        if before is not None:
            wanted = wanted.where(JOBS.c.number < before)
        if owner is not None:
            wanted = wanted.where(JOBS.c.owner == _word(owner))
        return self._select(wanted)

    def num_queued(self) -> int:
        """Return the number of queued jobs."""
        queued = sa.select(sa.func.count()).select_from(JOBS).where(JOBS.c.status == JobStatus.QUEUED)
        with self.database.reading() as db:
            return db.execute(queued).scalar_one()

    def num_active(self) -> dict[JobStatus, int]:
        """Return the numbers of jobs that are queued and that run."""
        with self.database.reading() as db:
            return count_active(db)

    def time_to_room_s(self, of_batches: bool, num_jobs: int) -> float:
        """Return about how long it takes until an owner has `num_jobs` fewer jobs in the queue."""
        with self.database.reading() as db:
            return time_to_room_s(db, self._now(db), of_batches, num_jobs)

    def figures(self) -> JobFigures:
        """Return the sums over all jobs."""
        with self.database.reading() as db:
            return read_figures(db, self._now(db))

    def claim(self, model: ModelVersion, loads_others: bool = False) -> Job | None:
        """Claim the queued job whose turn it is, with a new lease, for a runner that has `model`.

        Returns None if no job may start; see `turns.order_of_service`. Jobs whose lease ran out are put back
        first; those that have lost too many runners fail, and those that ask for a model that the runner
        neither has nor, with `loads_others`, can load, as it can all versions of the same name.
        """
        with self.database.writing() as db:
            now = self._now(db)
            for row in queue.lapsed(db, now):
                self._put_back(db, row, "losses", self.rules.after_loss(row["losses"] + 1))
            for row in queue.pinned(db, model, loads_others):
                queue.fail(db, row["number"], queue.other_model(row, model), now)
            number = queue.next_number(db, now)
            if number is None:
                return None
            model = queue.model_for(db, number, model, loads_others)
            change = {
                "status": JobStatus.RUNNING,
                "attempts": JOBS.c.attempts + 1,
                "frames_done": 0,
                "lease": secrets.token_hex(8),
                "lease_until_s": now + self.rules.lease_s,
                "model_name": model.name,
                "model_version": model.version,
                "started_s": now,
                "warnings": [],
            }
            queue.change_row(db, number, change)
            row = db.execute(sa.select(JOBS).where(JOBS.c.number == number)).mappings().one()
        return job_of(row, self._root)

    def renew(self, job: Job) -> bool:
        """Renew the lease; False if it is lost: the job was cancelled or claimed by another runner."""
        with self.database.writing() as db:
            return queue.change_held(db, job, {"lease_until_s": self._now(db) + self.rules.lease_s})

    def advance(self, job: Job, frames_done: int, frames_total: int) -> bool:
        """Store the progress; False if the lease is lost."""
        with self.database.writing() as db:
            return queue.change_held(db, job, {"frames_done": frames_done, "frames_total": frames_total})

    def finish(self, job: Job, produced: Path, num_frames: int, warnings: Sequence[str] = ()) -> bool:
        """Move `produced` to the job's output as its result; False, nothing moved, if the lease is lost.

        After an error of the database it may be called again, whether the file was moved before or not.
        """
        # The server may end between the move and its answer that all is committed.
        result, was_moved = (produced, False) if produced.exists() else (job.order.output, True)
        make_durable(result)
        with self.database.writing() as db:
            change = {
                "status": JobStatus.SUCCEEDED,
                "frames_done": num_frames,
                "frames_total": num_frames,
                "warnings": [warning.replace("\0", "") for warning in warnings],
                "ended_s": self._now(db),
            }
            if job.batch is None:
                change["stored_bytes"] = result.stat().st_size
            done = queue.change_held(db, job, change)
            if done and not was_moved:
                produced.replace(job.order.output)
                make_durable(job.order.output.parent)
        return done

    def fail(self, job: Job, error: Error) -> bool:
        """Fail the job with `error`; False if the lease is lost."""
        with self.database.writing() as db:
            change = {"status": JobStatus.FAILED, "ended_s": self._now(db), **error_columns(error)}
            return queue.change_held(db, job, change)

    def release(self, job: Job) -> bool:
        """Queue the job again at once, since its runner stops; False if the lease is lost."""
        with self.database.writing() as db:
            return queue.change_held(db, job, {"status": JobStatus.QUEUED, "lease": None})

    def give_back(self, job: Job, reason: str) -> None:
        """Queue the job again after an unexpected failure, with a pause, or fail it after too many."""
        with self.database.writing() as db:
            row = queue.held(db, job)
            if row is not None:
                self._put_back(db, row, "failures", self.rules.after_failure(row["failures"] + 1, reason))

    def put_off(self, job: Job, error: Error) -> None:
        """Queue the job again with a pause and a warning, since its model is away; fail it after too many."""
        with self.database.writing() as db:
            row = queue.held(db, job)
            if row is not None:
                queue.change_row(db, row["number"], {"warnings": [error.message]})
                self._put_back(db, row, "losses", self.rules.after_outage(row["losses"] + 1, error))

    def cancel(self, job_id: str) -> bool:
        """Cancel a queued or running job; False if it has ended or is unknown.

        A running job stops when its runner next renews the lease.
        """
        active = sa.update(JOBS).where(JOBS.c.id == _word(job_id), JOBS.c.status.not_in(FINAL))
        with self.database.writing() as db:
            cancelled = active.values(status=JobStatus.CANCELLED, ended_s=self._now(db))
            return db.execute(cancelled).rowcount == 1

    def remove(self, job_id: str) -> None:
        """Remove the job; the caller deletes its files."""
        with self.database.writing() as db:
            db.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))
            db.execute(sa.delete(BATCH_ITEMS).where(BATCH_ITEMS.c.job == job_id))

    def uncleared(self) -> list[Job]:
        """Return the ended jobs whose working files may still be there.

        A job ended for less than a lease is left out, since its runner may not have noticed.
        """
        ended = sa.select(JOBS).where(~JOBS.c.is_cleared, JOBS.c.status.in_(FINAL))
        with self.database.reading() as db:
            since = self._now(db) - self.rules.lease_s
        return self._select(ended.where(JOBS.c.ended_s < since))

    def set_cleared(self, job_id: str) -> None:
        """Note that all files of an ended job but its result are gone."""
        result_bytes = sa.case((JOBS.c.status == JobStatus.SUCCEEDED, JOBS.c.stored_bytes), else_=0)
        with self.database.writing() as db:
            cleared = sa.update(JOBS).values(is_cleared=True, stored_bytes=result_bytes)
            db.execute(cleared.where(JOBS.c.id == job_id))

    def num_stored_bytes(self, of_active: bool = False) -> int:
        """Return the size of the files kept for all jobs, or for those that have not ended."""
        total = sa.select(sa.func.coalesce(sa.func.sum(JOBS.c.stored_bytes), 0))
        if of_active:
            total = total.where(JOBS.c.status.not_in(FINAL))
        with self.database.reading() as db:
            return int(db.execute(total).scalar_one())

    def beyond_quota(self, max_stored_bytes: int) -> list[Job]:
        """Return the ended jobs, the oldest, whose files have to go so that the others fit."""
        total = self.num_stored_bytes()
        if total <= max_stored_bytes:
            return []
        ended = sa.select(JOBS).where(JOBS.c.status.in_(FINAL), JOBS.c.stored_bytes > 0)
        return to_remove(self._select(ended.order_by(JOBS.c.ended_s)), total, max_stored_bytes)

    def expired(self, keep_s: float) -> list[Job]:
        """Return the jobs that ended more than `keep_s` seconds ago, as did all of their batches' jobs."""
        with self.database.reading() as db:
            since = self._now(db) - keep_s
        return self._select(select_expired(since))

    def _now(self, db: sa.Connection) -> float:
        if self._clock is not None:
            return self._clock()
        if self.database.is_sqlite:
            return time.time()
        # Not this machine's clock, which may differ from that of the others.
        return float(db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def _earlier(self, db: sa.Connection, order: Order) -> str | None:
        """Return the id of the job that stands for a repeated order; a job that does not loses its key."""
        if order.idempotency_key is None:
            return None
        same_key = is_of(order.owner) & (JOBS.c.idempotency_key == order.idempotency_key)
        row = db.execute(sa.select(JOBS).where(same_key)).mappings().one_or_none()
        if row is None:
            return None
        job = job_of(row, self._root)
        if not job.order.asks_for_the_same_as(order):
            raise KeyReusedError(order.idempotency_key)
        if not job.status.is_final or (job.status is JobStatus.SUCCEEDED and self._has_result(job)):
            return job.id
        queue.change_row(db, job.number, {"idempotency_key": None})
        return None

    def _put_back(self, db: sa.Connection, row: Row, counter: str, verdict: float | Error) -> None:
        """Count a failure or loss of a running job; queue it again after the pause, or fail it."""
        now = self._now(db)
        if isinstance(verdict, Error):
            queue.fail(db, row["number"], verdict, now)
            return
        change = {"status": JobStatus.QUEUED, "lease": None, "not_before_s": now + verdict}
        queue.change_row(db, row["number"], change | {counter: row[counter] + 1})

    def _select(self, statement: sa.Select[Any]) -> list[Job]:
        with self.database.reading() as db:
            rows = db.execute(statement).mappings().all()
        return [job_of(row, self._root) for row in rows]


def _word(text: str) -> str:
    """Return a word that a client sent as one that the database can look for."""
    # PostgreSQL knows no null characters, and no word of ours has one.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
