import time

import torch

from tests.benchmarks.timing import by_turns, op_timer
from tests.gpu import needs_gpu

CPU = torch.device("cpu")


def test_candidates_run_by_turns_and_are_timed_after_warming_up():
    ran = []
    candidates = {name: (lambda name=name: ran.append(name)) for name in ("one", "other")}
    seconds = by_turns(candidates, 3, CPU)
    assert ran[-6:] == ["one", "other"] * 3
    assert len(ran) > 6
    assert {name: len(each) for name, each in seconds.items()} == {"one": 3, "other": 3}


def test_a_timer_that_is_given_is_the_one_that_counts():
    assert by_turns({"ours": lambda: None}, 2, CPU, lambda run: 7.0) == {"ours": [7.0, 7.0]}


def test_on_a_cpu_ops_are_timed_by_the_clock():
    assert 0.01 < op_timer(CPU)(lambda: time.sleep(0.01)) < 1


@needs_gpu
def test_on_a_gpu_ops_are_timed_without_their_launch():
    x = torch.zeros(1, device="cuda")
    run = lambda: x.add_(1)  # noqa: E731
    by_clock = min(by_turns({"ours": run}, 20, x.device)["ours"])
    assert op_timer(x.device)(run) < by_clock / 2
