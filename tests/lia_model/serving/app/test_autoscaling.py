from types import SimpleNamespace

import pytest

from lia_model.serving.app.autoscaling import BUSY, QUEUED, RUNNING, follow_backlog


def wanted(reported, target=3):
    config = SimpleNamespace(target_ongoing_requests=2)
    figures = SimpleNamespace(aggregated_metrics=reported, target_num_replicas=target, config=config)
    return follow_backlog(figures)[0]


@pytest.mark.parametrize(
    ("queued", "running", "busy", "num_replicas"),
    [(0, 0, 0, 1), (1, 1, 1, 1), (3, 0, 0, 2), (7, 1, 1, 4), (0, 3, 3, 3), (0.2, 1.9, 1.9, 2), (0, 4, 1, 2)],
)
def test_there_is_a_replica_for_so_many_jobs_and_for_each_busy_one(queued, running, busy, num_replicas):
    assert wanted({QUEUED: {"a": queued}, RUNNING: {"a": running}, BUSY: {"a": busy}}) == num_replicas


def test_a_late_report_does_not_hide_jobs():
    assert wanted({QUEUED: {"late": 0, "new": 6}, RUNNING: {"late": 0, "new": 0}, BUSY: {"a": 0}}) == 3


@pytest.mark.parametrize("reported", [None, {}, {QUEUED: {}, RUNNING: {}, BUSY: {}}])
def test_without_a_report_their_number_stays(reported):
    assert wanted(reported) == 3
