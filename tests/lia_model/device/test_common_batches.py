import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lia_model.device.common_batches import CommonBatches

BATCH_SIZE = 4


class Device:
    """Doubles numbers, a batch at a time, and notes what it got."""

    def __init__(self):
        self.batches = []
        self.started = self.finished = 0

    def start(self, rows, batch_size):
        assert 0 < len(rows) <= batch_size
        self.batches.append(list(rows))
        self.started += 1

        def finish():
            self.finished += 1
            if 13 in rows:
                raise ValueError("13 is refused")
            return np.array([[2 * row] for row in rows])

        return finish


@pytest.fixture
def device():
    return Device()


def test_rows_that_wait_share_a_batch_and_go_back_to_those_who_sent_them(device):
    batches = CommonBatches(num_ahead=0)
    one = batches.submit([1, 2], BATCH_SIZE, device.start)
    other = batches.submit([3, 4, 5], BATCH_SIZE, device.start)
    assert other()[:, 0].tolist() == [6, 8, 10]
    assert one()[:, 0].tolist() == [2, 4]
    assert device.batches == [[1, 2, 3, 4], [5]]


def test_a_lone_row_is_not_kept_back(device):
    assert CommonBatches(num_ahead=1).submit([1], BATCH_SIZE, device.start)()[:, 0].tolist() == [2]


def test_full_batches_are_started_ahead_and_others_are_not(device):
    batches = CommonBatches(num_ahead=1)
    first = batches.submit(range(4), BATCH_SIZE, device.start)
    second = batches.submit(range(4), BATCH_SIZE, device.start)
    third = batches.submit(range(3), BATCH_SIZE, device.start)
    first()
    assert (device.started, device.finished) == (2, 1)
    second()
    assert (device.started, device.finished) == (2, 2)
    third()
    assert (device.started, device.finished) == (3, 3)


def test_an_error_reaches_those_in_its_batch_alone(device):
    batches = CommonBatches(num_ahead=0)
    wrong = batches.submit([13, 1], 2, device.start)
    right = batches.submit([2], 2, device.start)
    with pytest.raises(ValueError, match="13 is refused"):
        wrong()
    assert right()[:, 0].tolist() == [4]


def test_an_error_at_the_start_of_a_batch_is_raised_and_the_next_goes_on(device):
    batches = CommonBatches(num_ahead=1)

    def start(rows, batch_size):
        if 13 in rows:
            raise MemoryError("no room")
        return device.start(rows, batch_size)

    wrong = batches.submit([13], BATCH_SIZE, start)
    with pytest.raises(MemoryError):
        wrong()
    assert batches.submit([1], BATCH_SIZE, start)()[:, 0].tolist() == [2]


def test_threads_get_their_own_rows_and_one_batch_runs_at_a_time():
    batches, running = CommonBatches(num_ahead=0), threading.Lock()

    def start(rows, batch_size):
        assert running.acquire(blocking=False)

        def finish():
            running.release()
            return np.array([[-row] for row in rows])

        return finish

    def work(number):
        for step in range(200):
            rows = [1000 * number + step, 1000 * number + step + 1]
            assert batches.submit(rows, 3, start)()[:, 0].tolist() == [-row for row in rows]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
