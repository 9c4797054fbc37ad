import errno

import pytest

from lia_model.training.cluster.failures import (
    FailureWindow,
    FullDiskError,
    RepeatedFailureError,
    ending,
    in_one_line,
)


def test_any_number_of_failures_passes_as_long_as_checkpoints_come_between():
    window = FailureWindow(max_failures=1)
    for step in range(0, 1000, 100):
        window.add(step, "killed")


def test_failures_at_one_checkpoint_end_the_run_with_the_last_reason():
    window = FailureWindow(max_failures=2)
    window.add(100, "killed")
    window.add(100, "killed")
    with pytest.raises(RepeatedFailureError, match="failed 3 times since step 100, the last time: again;"):
        window.add(100, "again")


def test_progress_starts_a_new_count():
    window = FailureWindow(max_failures=1)
    window.add(0, "killed")
    window.add(50, "killed")
    with pytest.raises(RepeatedFailureError, match="failed 2 times since step 50"):
        window.add(50, "killed")


def test_workers_that_are_lost_and_then_started_too_late_are_one_failure():
    window = FailureWindow(max_failures=2)
    for _ in range(2):
        window.add(0, "a node is lost")
        window.add_late_start(0, "no room")
    assert window.count == 2
    with pytest.raises(RepeatedFailureError, match="failed 3 times since step 0, the last time: no room;"):
        window.add_late_start(0, "no room")


def test_what_an_operator_has_to_change_and_a_full_disk_end_the_run_at_once():
    wrong = ValueError("got 3; 4 is allowed: write 4")
    assert ending({0: RuntimeError("connection closed"), 1: wrong}) is wrong
    full = ending({0: OSError(errno.ENOSPC, "No space left on device", "/disk/step-100")})
    assert isinstance(full, FullDiskError)
    assert str(full).startswith(
        "a checkpoint could not be written (No space left on device: /disk/step-100);"
    )


def test_other_failures_are_tried_again():
    assert ending({0: RuntimeError("connection closed"), 1: OSError(errno.EIO, "Input/output error")}) is None


def test_ranks_with_the_same_reason_share_a_line():
    error = RuntimeError("\n connection closed\nby peer")
    assert in_one_line({1: error, 0: error, 2: KeyError("x")}) == (
        "rank 0, 1: RuntimeError: connection closed; rank 2: KeyError: 'x'"
    )
