from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lia_model.device.cuda_graph import CudaGraphs, Recorder
from tests.gpu import needs_gpu
from tests.lia_model.device.played_back import PlayedBack


class Copies(TorchDispatchMode):
    """Counts copies into existing tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.copy_.default
        return func(*args, **(kwargs or {}))


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x * y + x


def pairs(number: int, device: str = "cpu") -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return random pairs, of two shapes by turns."""
    generator = torch.Generator().manual_seed(number)
    shapes = [(2, 3) if each % 2 else (4, 5) for each in range(8)]
    return [tuple(torch.randn(2, *shape, generator=generator).to(device)) for shape in shapes]


def test_a_recorded_function_computes_the_same_and_is_recorded_once_for_each_shape():
    graphs = PlayedBack()
    recorded = Recorder(graphs).record(product)
    given = pairs(0)
    results = [recorded(*pair) for pair in given]
    # Compared after the last call: results of earlier ones must not be overwritten.
    for result, pair in zip(results, given, strict=True):
        assert torch.equal(result, product(*pair))
    assert graphs.num_captured == 2


def test_functions_of_one_recorder_keep_their_own_recordings():
    recorder = Recorder(PlayedBack())
    times, plus = recorder.record(torch.mul), recorder.record(torch.add)
    for x, y in pairs(1):
        assert torch.equal(times(x, y), x * y)
        assert torch.equal(plus(x, y), x + y)


def test_types_are_recorded_apart():
    recorded = Recorder(PlayedBack()).record(product)
    x = torch.ones(3)
    assert recorded(x, x).dtype == torch.float32
    assert recorded(x.double(), x.double()).dtype == torch.float64


def test_what_is_passed_again_is_not_copied_again():
    recorded = Recorder(PlayedBack()).record(product)
    x, y = torch.randn(2, 4)
    recorded(x, y)
    with Copies() as both_new:
        recorded(x.clone(), y.clone())
    recorded(x, y)
    with Copies() as one_new:
        result = recorded(x, 2 * y)
    assert one_new.count == both_new.count - 1
    assert torch.equal(result, product(x, 2 * y))


def test_threads_that_share_a_recorder_get_their_own_results():
    recorded = Recorder(PlayedBack()).record(product)
    wrong = []

    def work(number: int) -> None:
        for x, y in pairs(number) * 20:
            if not torch.equal(recorded(x, y), product(x, y)):
                wrong.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert wrong == []


@needs_gpu
def test_graphs_compute_the_same_in_any_thread_and_on_any_stream():
    recorder = Recorder(CudaGraphs(torch.device("cuda", torch.cuda.device_count() - 1)))
    recorded = recorder.record(product)
    device = f"cuda:{torch.cuda.device_count() - 1}"
    wrong = []

    def work(number: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream(device)):
            for x, y in pairs(number, device) * 20:
                if not torch.equal(recorded(x, y), product(x, y)):
                    wrong.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert wrong == []


@needs_gpu
def test_a_function_that_waits_for_the_device_cannot_be_recorded():
    recorded = Recorder(CudaGraphs(torch.device("cuda"))).record(lambda x: x * x.sum().item())
    with pytest.raises(RuntimeError, match="captur"):
        recorded(torch.ones(3, device="cuda"))
