from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lia_model.device.host_copies import HostCopies, copies_from, in_turn
from tests.gpu import needs_gpu


class LateCopies:
    """Copies that happen as late as they may: when somebody waits for them."""

    def __init__(self) -> None:
        self.num_allocated = 0

    def allocate(self, num_bytes: int) -> torch.Tensor:
        self.num_allocated += 1
        return torch.zeros(num_bytes, dtype=torch.uint8)

    def start(self, x: torch.Tensor, host: torch.Tensor):
        return lambda: host.copy_(x)


@pytest.fixture
def copies():
    return LateCopies()


@pytest.fixture
def fetch(copies):
    return HostCopies(copies.allocate, copies.start).start


def drawn(rng):
    shape = tuple(rng.integers(1, 9, rng.integers(1, 5)))
    dtype = (torch.uint8, torch.float32, torch.int64)[rng.integers(3)]
    x = torch.from_numpy(rng.integers(0, 256, shape)).to(dtype)
    return x.transpose(0, -1)


def test_results_are_read_in_any_order_and_stay_as_they_were(fetch):
    rng = np.random.default_rng(0)
    for _ in range(20):
        given = [drawn(rng) for _ in range(4)]
        finishes = [fetch(x) for x in given]
        read = {int(number): finishes[number]() for number in rng.permutation(4)}
        [fetch(drawn(rng))() for _ in range(4)]
        for number, x in enumerate(given):
            np.testing.assert_array_equal(read[number], x.numpy())
            assert read[number].dtype == x.numpy().dtype


def test_there_are_as_many_buffers_as_copies_under_way(fetch, copies):
    for _ in range(5):
        for finish in [fetch(torch.zeros(8)) for _ in range(2)]:
            finish()
    assert copies.num_allocated == 2


def test_threads_share_the_buffers(fetch):
    def work(value):
        return all((fetch(torch.full((1000,), value))() == value).all() for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_on_the_cpu_nothing_is_copied():
    x = torch.arange(6)
    assert copies_from(torch.device("cpu"))(x)().ctypes.data == x.data_ptr()


@pytest.mark.parametrize("num_ahead", [0, 1, 2])
@pytest.mark.parametrize("num_batches", [0, 1, 2, 5])
def test_so_many_batches_are_started_before_one_is_waited_for(num_ahead, num_batches):
    events = []

    def batches():
        for number in range(num_batches):
            events.append(("start", number))
            yield lambda number=number: events.append(("wait", number)) or np.array([number, -1]), 1

    rows = [row.item() for row in in_turn(batches(), num_ahead)]
    assert rows == list(range(num_batches))
    for number in range(num_batches):
        last = min(number + num_ahead, num_batches - 1)
        assert events.index(("start", last)) < events.index(("wait", number))
        if last + 1 < num_batches:
            assert events.index(("wait", number)) < events.index(("start", last + 1))


@needs_gpu
def test_the_host_does_not_wait_for_a_busy_gpu_before_it_asks_for_the_result():
    fetch = copies_from(torch.device("cuda"))
    x = torch.arange(1000, device="cuda")
    # The allocation of page-locked memory waits for the device.
    fetch(x)()
    torch.cuda._sleep(100_000_000)
    finish = fetch(x + 1)
    assert not torch.cuda.current_stream().query(), "the host waited for the copy"
    np.testing.assert_array_equal(finish(), np.arange(1, 1001))
