from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lia_model.device.pinned_ring import NUM_BUFFERS, PinnedRing, copies_to
from tests.gpu import needs_gpu


class LateCopies:
    """Copies that happen as late as they may: when somebody waits for them."""

    def __init__(self) -> None:
        self.num_allocated = 0
        self.waits = []

    def allocate(self, num_bytes: int) -> torch.Tensor:
        self.num_allocated += 1
        return torch.empty(num_bytes, dtype=torch.uint8)

    def start(self, host: torch.Tensor):
        sent = torch.zeros_like(host)
        self.waits.append(lambda: sent.copy_(host))
        return sent, self.waits[-1]

    def finish(self) -> None:
        for wait in self.waits[-2:]:
            wait()


def arrays(rng: np.random.Generator) -> list[np.ndarray]:
    shape = tuple(rng.integers(1, 9, rng.integers(1, 4)))
    kind = rng.choice([np.uint8, np.float32, np.int64])
    return [rng.integers(0, 256, shape).astype(kind) for _ in range(rng.integers(1, 5))]


def test_a_buffer_is_filled_again_only_when_its_copy_has_ended():
    copies = LateCopies()
    ring = PinnedRing(copies.allocate, copies.start, num_buffers=2)
    rng = np.random.default_rng(0)
    given = [arrays(rng) for _ in range(40)]
    sent = [ring.stack(each) for each in given]
    copies.finish()
    for tensor, each in zip(sent, given, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), np.stack(each))
        assert tensor.numpy().dtype == each[0].dtype


def test_a_buffer_that_is_large_enough_is_kept():
    copies = LateCopies()
    ring = PinnedRing(copies.allocate, copies.start, num_buffers=2)
    for num_values in (8, 8, 3, 8, 1, 8):
        ring.stack([np.zeros(num_values)])
    assert copies.num_allocated == 2


def test_threads_share_a_ring():
    copies = LateCopies()
    ring = PinnedRing(copies.allocate, lambda host: (host.clone(), lambda: None), num_buffers=1)
    wrong = []

    def work(value: int) -> None:
        for _ in range(200):
            if not (ring.stack([np.full(1000, value)]) == value).all():
                wrong.append(value)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert wrong == []


def test_on_the_cpu_one_array_is_not_copied_and_a_list_is_stacked():
    stack = copies_to(torch.device("cpu"))
    whole = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert stack(whole).data_ptr() == whole.ctypes.data
    stacked = stack([whole, whole + 1])
    np.testing.assert_array_equal(stacked.numpy(), np.stack([whole, whole + 1]))
    assert stacked.data_ptr() != whole.ctypes.data


@pytest.mark.parametrize("num_arrays", [1, 3])
@needs_gpu
def test_arrays_arrive_on_the_gpu_while_it_is_busy(num_arrays):
    stack = copies_to(torch.device("cuda"))
    rng = np.random.default_rng(0)
    given = [[rng.random((256, 256), np.float32) for _ in range(num_arrays)] for _ in range(50)]
    # The allocation of page-locked memory waits for the device.
    for each in given[:NUM_BUFFERS]:
        stack(each)
    torch.cuda._sleep(100_000_000)
    sent = [stack(each) for each in given[:NUM_BUFFERS]]
    assert not torch.cuda.current_stream().query(), "the host waited for the copies"
    sent += [stack(each) for each in given[NUM_BUFFERS:]]
    for tensor, each in zip(sent, given, strict=True):
        np.testing.assert_array_equal(tensor.cpu().numpy(), np.stack(each))
