from dataclasses import replace

import pytest

from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.backlog import UNKNOWN_S, WINDOW_S
from lia_model.serving.jobs.job import new_id
from tests.lia_model.serving.jobs.test_store import make_order, produce, take


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def store(database, clock):
    return JobStore(database, RetryRules(lease_s=3600), lambda: clock[0])


def queue(store, folder, num_jobs, owner=None, batch=None):
    orders = {(one := new_id()): replace(make_order(folder, one), owner=owner) for _ in range(num_jobs)}
    store.submit(orders, 1000, batch)


def finish(store, clock, folder, num_jobs, each_s):
    queue(store, folder, num_jobs)
    for _ in range(num_jobs):
        job = take(store)
        clock[0] += each_s
        assert store.finish(job, produce(job), 1)


def test_without_an_ended_job_each_counts_for_a_few_seconds(store, tmp_path):
    queue(store, tmp_path, 4)
    assert store.time_to_room_s(False, 2) == 2 * UNKNOWN_S


def test_room_comes_as_fast_as_jobs_have_ended(store, clock, tmp_path):
    finish(store, clock, tmp_path, 5, each_s=8)
    queue(store, tmp_path, 10)
    assert store.time_to_room_s(False, 3) == pytest.approx(24)


def test_jobs_that_ended_long_ago_do_not_count(store, clock, tmp_path):
    finish(store, clock, tmp_path, 5, each_s=8)
    clock[0] += WINDOW_S + 1
    finish(store, clock, tmp_path, 2, each_s=3)
    queue(store, tmp_path, 1)
    assert store.time_to_room_s(False, 1) == pytest.approx(3)


def test_the_jobs_of_others_who_take_turns_and_all_uploads_come_before(store, clock, tmp_path):
    finish(store, clock, tmp_path, 4, each_s=2)
    queue(store, tmp_path, 6, "ann")
    queue(store, tmp_path, 1, "bob")
    assert store.time_to_room_s(False, 3) == pytest.approx((3 + 1) * 2)
    queue(store, tmp_path, 5, "ann", batch="items")
    assert store.time_to_room_s(True, 2) == pytest.approx((6 + 1 + 2) * 2)
