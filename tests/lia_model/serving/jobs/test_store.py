import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lia_model.animation.options import AnimationOptions
from lia_model.serving.database import DatabaseError, open_database, sqlite_url
from lia_model.serving.jobs import JobStore, QueueFullError, RetryRules
from lia_model.serving.jobs import store as store_module
from lia_model.serving.jobs.job import Job, Order, new_id
from lia_model.serving.messages import Error, JobStatus, ModelVersion
from tests.postgresql import postgres_server

MODEL = ModelVersion(name="lia", version="3")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def make_order(folder: Path, name: str = "video", error: Error | None = None) -> Order:
    return Order(
        source=folder / "source",
        driving=folder / "driving",
        output=folder / f"{name}.mp4",
        options=AnimationOptions(),
        model=MODEL,
        error=error,
    )


def submit(store: JobStore, folder: Path, num_jobs: int = 1) -> list[str]:
    ids = [new_id() for _ in range(num_jobs)]
    for job_id in ids:
        store.submit({job_id: make_order(folder, job_id)}, max_num_queued=100)
    return ids


def take(store: JobStore) -> Job:
    job = store.claim(MODEL)
    assert job is not None
    return job


def state(store: JobStore, job_id: str) -> JobStatus:
    job = store.get(job_id)
    assert job is not None
    return job.status


def produce(job: Job, content: bytes = b"video") -> Path:
    job.folder.mkdir(exist_ok=True)
    produced = job.folder / "result.mp4"
    produced.write_bytes(content)
    return produced


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database, clock):
    return JobStore(database, RetryRules(lease_s=60, max_failures=3, max_losses=4, back_off_s=10), clock)


def test_an_order_reads_back_as_it_was_given(store, tmp_path):
    order = make_order(tmp_path)
    store.submit({"a": order}, max_num_queued=1)
    job = store.get("a")
    assert job is not None
    assert (job.order, job.status, job.attempts, job.batch) == (order, JobStatus.QUEUED, 0, None)


def test_jobs_are_claimed_in_the_order_they_came(store, tmp_path):
    ids = submit(store, tmp_path, 3)
    assert [take(store).id for _ in ids] == ids
    assert store.claim(MODEL) is None


def test_a_job_is_claimed_once_however_many_runners_ask(database, tmp_path):
    store = JobStore(database)
    ids = submit(store, tmp_path, 12)
    claimed: list[str] = []

    def work(_):
        while (job := store.claim(MODEL)) is not None:
            claimed.append(job.id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(claimed) == sorted(ids)


def test_a_full_queue_takes_nothing_and_says_so(store, tmp_path):
    submit(store, tmp_path, 2)
    with pytest.raises(QueueFullError):
        store.submit({name: make_order(tmp_path, name) for name in "ab"}, max_num_queued=3)
    assert store.num_queued() == 2
    assert store.get("a") is None
    store.submit({"a": make_order(tmp_path, "a")}, max_num_queued=3)


def test_only_waiting_jobs_fill_the_queue(store, tmp_path):
    submit(store, tmp_path, 2)
    take(store)
    store.submit({"bad": make_order(tmp_path, error=Error(code="not_found", message="no such file"))}, 0)
    assert store.num_queued() == 1


def test_a_result_becomes_visible_when_the_job_succeeds(store, tmp_path):
    (job_id,) = submit(store, tmp_path)
    job = take(store)
    assert not job.order.output.exists()
    assert store.finish(job, produce(job), num_frames=7)
    assert job.order.output.read_bytes() == b"video"
    done = store.get(job_id)
    assert done is not None
    assert (done.status, done.frames_done, done.frames_total) == (JobStatus.SUCCEEDED, 7, 7)


def test_a_lapsed_lease_gives_the_job_to_another_and_silences_the_first(store, clock, tmp_path):
    (job_id,) = submit(store, tmp_path)
    slow = take(store)
    clock.now += 61
    heir = take(store)
    assert (heir.id, heir.attempts) == (job_id, 2)
    assert heir.folder != slow.folder
    assert not store.renew(slow)
    assert not store.advance(slow, 5, 9)
    assert not store.fail(slow, Error(code="internal", message="late"))
    assert not store.finish(slow, produce(slow, b"late"), num_frames=9)
    assert not heir.order.output.exists()
    assert store.finish(heir, produce(heir, b"right"), num_frames=9)
    assert heir.order.output.read_bytes() == b"right"


def test_a_renewed_lease_does_not_lapse(store, clock, tmp_path):
    submit(store, tmp_path)
    job = take(store)
    for _ in range(5):
        clock.now += 50
        assert store.renew(job)
    assert store.claim(MODEL) is None


def test_a_job_that_kills_its_runners_fails_clearly(store, clock, tmp_path):
    (job_id,) = submit(store, tmp_path)
    num_claims = 0
    while not state(store, job_id).is_final:
        num_claims += store.claim(MODEL) is not None
        clock.now += 61
    assert num_claims == 4
    job = store.get(job_id)
    assert job is not None
    assert job.status == JobStatus.FAILED
    assert job.order.error == Error(code="worker_lost", message="given up after 4 attempts: its runner died")


def test_an_accident_is_tried_again_until_the_attempts_are_spent(store, clock, tmp_path):
    (job_id,) = submit(store, tmp_path)
    for _ in range(2):
        store.give_back(take(store), "disk full")
        assert state(store, job_id) == JobStatus.QUEUED
        clock.now += 20
    store.give_back(take(store), "disk full")
    job = store.get(job_id)
    assert job is not None
    assert job.order.error == Error(code="internal", message="given up after 3 attempts: disk full")


def test_a_failed_job_waits_longer_each_time_while_others_go_on(store, clock, tmp_path):
    first, second = submit(store, tmp_path, 2)
    for pause_s in (10, 20):
        store.give_back(take(store), "disk full")
        assert take(store).id == second
        store.release(store.get(second))
        clock.now += pause_s - 1
        assert take(store).id == second
        store.release(store.get(second))
        clock.now += 1
    assert take(store).id == first


def test_deaths_of_runners_and_stops_do_not_count_as_failures_of_the_job(store, clock, tmp_path):
    (job_id,) = submit(store, tmp_path)
    for _ in range(20):
        assert store.release(take(store))
    num_claims = 0
    while num_claims < 3:
        num_claims += store.claim(MODEL) is not None
        clock.now += 61
    assert store.claim(MODEL) is None
    clock.now += 61
    for _ in range(2):
        store.give_back(take(store), "disk full")
        clock.now += 200
    assert state(store, job_id) == JobStatus.QUEUED


def test_a_job_names_the_model_that_claimed_it_last(store, tmp_path):
    (job_id,) = submit(store, tmp_path)
    for version in ("4", "5"):
        job = store.claim(ModelVersion(name="lia", version=version))
        assert job.order.model.version == version
        store.release(job)
    assert store.get(job_id).order.model == ModelVersion(name="lia", version="5")


def test_progress_starts_again_with_each_attempt(store, clock, tmp_path):
    submit(store, tmp_path)
    assert store.advance(take(store), 5, 9)
    clock.now += 61
    heir = take(store)
    assert (heir.frames_done, heir.frames_total) == (0, 9)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_cancelled_job_is_never_claimed_or_finished(store, tmp_path, clock, is_running):
    (job_id,) = submit(store, tmp_path)
    job = take(store) if is_running else None
    assert store.cancel(job_id)
    assert not store.cancel(job_id)
    clock.now += 61
    assert store.claim(MODEL) is None
    assert state(store, job_id) == JobStatus.CANCELLED
    if job is not None:
        assert not store.renew(job)
        assert not store.finish(job, produce(job), num_frames=1)
        assert not job.order.output.exists()


def test_a_removed_job_is_unknown(store, tmp_path):
    (job_id,) = submit(store, tmp_path)
    store.remove(job_id)
    assert store.get(job_id) is None


def test_a_batch_keeps_its_order_and_its_stillborn_items(store, tmp_path):
    error = Error(code="not_found", message="no such file")
    orders = {name: make_order(tmp_path, name, error if name == "b" else None) for name in "cba"}
    store.submit(orders, max_num_queued=2, batch="batch")
    jobs = store.get_batch("batch")
    assert [job.id for job in jobs] == ["c", "b", "a"]
    assert [job.status for job in jobs] == [JobStatus.QUEUED, JobStatus.FAILED, JobStatus.QUEUED]
    assert jobs[1].order.error == error
    assert store.get_batch("other") == []


CLAIM_AND_HANG = """
import sys, time
from pathlib import Path
from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.messages import ModelVersion
model = ModelVersion(name="lia", version="3")
job = JobStore(open_database(sys.argv[1]), RetryRules(lease_s=0.5)).claim(model)
job.folder.mkdir()
(job.folder / "result.mp4").write_bytes(b"half")
print(job.id, flush=True)
time.sleep(600)
"""


def test_a_job_outlives_a_killed_runner_and_shows_one_whole_result(database_url, database, tmp_path):
    store = JobStore(database)
    (job_id,) = submit(store, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_HANG, database_url], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline().strip() == job_id
        os.kill(runner.pid, signal.SIGKILL)
    heir = None
    while heir is None:
        heir = store.claim(MODEL)
    assert (heir.id, heir.attempts) == (job_id, 2)
    assert not heir.order.output.exists()
    assert store.finish(heir, produce(heir, b"whole"), num_frames=1)
    assert heir.order.output.read_bytes() == b"whole"


SUBMIT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from lia_model.animation.options import AnimationOptions
from lia_model.serving.jobs.job import Order
from lia_model.serving.database import open_database
from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore
from lia_model.serving.messages import ModelVersion
folder = Path(sys.argv[1])
options = AnimationOptions(mode="absolute", crop=False)
order = Order(folder, folder, folder / "o.mp4", options, ModelVersion(name="lia", version="1"))
JobStore(open_database(sys.argv[2])).submit({"mine": order}, max_num_queued=1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_accepted_job_outlives_the_server_that_took_it(database_url, database, tmp_path):
    ended = subprocess.run([sys.executable, "-c", SUBMIT_AND_DIE, str(tmp_path), database_url], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert take(JobStore(database)).id == "mine"


def test_a_store_copied_with_its_project_names_the_copies_of_files(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    (original / "uploads").mkdir(parents=True)
    order = replace(make_order(original / "uploads"), driving=tmp_path / "shared.mp4")
    JobStore(open_database(sqlite_url(original / "jobs.sqlite")), root=original).submit(
        {"a": order}, max_num_queued=1
    )
    shutil.copytree(original, copy)
    found = JobStore(open_database(sqlite_url(copy / "jobs.sqlite")), root=copy).claim(MODEL).order
    wanted = make_order(copy / "uploads")
    assert (found.source, found.output) == (wanted.source, wanted.output)
    assert found.driving == tmp_path / "shared.mp4"
    assert (
        JobStore(open_database(sqlite_url(original / "jobs.sqlite")), root=original).get("a").order == order
    )


def owned(folder, owner, name, **more):
    return replace(make_order(folder, name), owner=owner, **more)


def claimed(store, number):
    return [take(store).id for _ in range(number)]


def test_owners_take_turns_however_many_jobs_one_of_them_has(store, tmp_path):
    for owner, names in (("ann", "abcd"), (None, "xy"), ("bob", "pq")):
        for name in names:
            store.submit({name: owned(tmp_path, owner, name)}, max_num_queued=100)
    first_round = claimed(store, 3)
    assert sorted(first_round) == ["a", "p", "x"]
    assert sorted(claimed(store, 3)) == ["b", "q", "y"]
    assert claimed(store, 2) == ["c", "d"]


def test_uploads_start_before_items_of_batches_whoever_owns_them(store, tmp_path):
    store.submit({"item": owned(tmp_path, "bob", "item")}, max_num_queued=100, batch="batch")
    for name in "ab":
        store.submit({name: owned(tmp_path, "ann", name)}, max_num_queued=100)
    assert claimed(store, 3) == ["a", "b", "item"]


def test_priority_orders_an_owners_own_jobs_and_no_others(store, tmp_path):
    store.submit({"low": owned(tmp_path, "ann", "low")}, max_num_queued=100)
    for name, priority in (("high", 9), ("highest", 10)):
        store.submit({name: owned(tmp_path, "ann", name, priority=priority)}, max_num_queued=100)
    store.submit({"other": owned(tmp_path, "bob", "other")}, max_num_queued=100)
    assert claimed(store, 4) == ["highest", "other", "high", "low"]


def test_one_owners_queue_leaves_room_for_anothers(store, tmp_path):
    store.submit({"a": owned(tmp_path, "ann", "a")}, max_num_queued=1)
    with pytest.raises(QueueFullError):
        store.submit({"b": owned(tmp_path, "ann", "b")}, max_num_queued=1)
    store.submit({"c": owned(tmp_path, "bob", "c")}, max_num_queued=1)
    store.submit({"d": owned(tmp_path, None, "d")}, max_num_queued=1)


def test_the_same_key_of_two_owners_names_two_jobs(store, tmp_path):
    for batch, owner in (
        ("first", "ann"),
        ("second", "bob"),
        ("third", "ann"),
        ("fourth", None),
        ("fifth", None),
    ):
        order = owned(tmp_path, owner, "same", idempotency_key="key")
        store.submit({new_id(): order}, max_num_queued=100, batch=batch)
    first, second, third, fourth, fifth = (
        store.get_batch(batch)[0].id for batch in ("first", "second", "third", "fourth", "fifth")
    )
    assert (first, fourth) == (third, fifth)
    assert len({first, second, fourth}) == 3


def test_pages_of_one_owners_jobs_leave_out_the_others(store, tmp_path):
    for number in range(6):
        owner = ("ann", "bob")[number % 2]
        store.submit({str(number): owned(tmp_path, owner, str(number))}, max_num_queued=100)
    page = store.newest(2, owner="ann")
    assert [job.id for job in page] == ["4", "2"]
    assert [job.id for job in store.newest(2, before=page[-1].number, owner="ann")] == ["0"]
    store.cancel("4")
    assert [job.id for job in store.newest(9, JobStatus.CANCELLED, owner="ann")] == ["4"]
    assert store.newest(9, JobStatus.CANCELLED, owner="bob") == []
    assert len(store.newest(9)) == 6


def test_a_job_knows_when_its_latest_attempt_started(store, clock, tmp_path):
    (job_id,) = submit(store, tmp_path)
    assert store.get(job_id).started_s is None
    clock.now += 5
    store.release(take(store))
    clock.now += 5
    assert take(store).started_s == clock.now
    assert store.get(job_id).submitted_s == clock.now - 10


def test_words_with_null_characters_name_nothing_and_break_nothing(store, tmp_path):
    submit(store, tmp_path)
    assert store.get("a\0") is None
    assert store.get_batch("\0") == []
    assert not store.cancel("\0")
    job = take(store)
    assert store.fail(job, Error(code="internal", message="bad \0 byte"))
    assert store.get(job.id).order.error.message == "bad  byte"


def test_jobs_submitted_at_once_never_exceed_the_limit(database, tmp_path):
    store = JobStore(database)

    def submit_one(number):
        try:
            store.submit({str(number): make_order(tmp_path, str(number))}, max_num_queued=4)
        except QueueFullError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(submit_one, range(12))) == 4
    assert store.num_queued() == 4


def test_without_a_clock_of_its_own_the_store_has_the_databases(database, tmp_path):
    store = JobStore(database)
    before = time.time()
    (job_id,) = submit(store, tmp_path)
    assert before - 1 < store.get(job_id).submitted_s < time.time() + 1


def test_a_result_is_not_made_again_if_the_server_ends_after_it_was_moved(tmp_path, monkeypatch):
    with postgres_server() as server:
        store = JobStore(open_database(server.create()))
        (job_id,) = submit(store, tmp_path)
        job = take(store)
        produced = produce(job)

        def end_server_after_the_move(path: Path) -> None:
            if path == job.order.output.parent:
                server.stop("QUIT")

        with monkeypatch.context() as patch:
            patch.setattr(store_module, "make_durable", end_server_after_the_move)
            with pytest.raises(DatabaseError):
                store.finish(job, produced, 3)
        assert not produced.exists()
        server.start()
        assert state(store, job_id) is JobStatus.RUNNING
        assert store.finish(job, produced, 3)
        assert state(store, job_id) is JobStatus.SUCCEEDED
        assert job.order.output.read_bytes() == b"video"
        # As if the answer alone had been lost.
        assert not store.finish(job, produced, 3)
        assert store.get(job_id).order.stored_bytes == len(b"video")
        store.database.close()
