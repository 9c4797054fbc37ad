"""Timing by turns: what is compared runs alternately, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

Timer = Callable[[Callable[[], object]], float]
"""Takes what is to be run, and returns the seconds of one run."""
WARM_UP_RUNS = 6
WARM_UP_S = 10.0


@dataclass(frozen=True)
class Row:
    """What was compared in one run."""

    section: str
    name: str
    seconds: dict[str, list[float]]
    """Of each candidate in each round; the candidate `ours` is one of them."""
    note: str = ""

    def median_ms(self, candidate: str) -> float:
        """Return the median over rounds in milliseconds."""
        return 1000 * statistics.median(self.seconds[candidate])

    def ratio(self, slower: str, faster: str = "ours") -> float:
        """Return how many times as long `slower` takes as `faster`: the median of the rounds' ratios."""
        pairs = zip(self.seconds[slower], self.seconds[faster], strict=True)
        return statistics.median(a / b for a, b in pairs)


def by_turns(
    candidates: dict[str, Callable[[], object]],
    num_rounds: int,
    device: torch.device,
    timer: Timer | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of each candidate in each round, after runs that are not counted.

    By default the clock of the host measures one run and waits for the device.
    """
    timer = timer or partial(_time, device=device)
    for run in candidates.values():
        _warm_up(run, device)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(num_rounds):
        for name, run in candidates.items():
            seconds[name].append(timer(run))
    return seconds


def op_timer(device: torch.device) -> Timer:
    """Return a timer for single ops: of a GPU it takes the time of the device alone, with an empty cache.

    The launch from Python takes as long as a third of such a kernel.
    """
    if device.type != "cuda":
        return partial(_time, device=device)
    from triton.testing import do_bench

    def time_on_device(run: Callable[[], object]) -> float:
        with torch.cuda.device(device):
            return do_bench(run, rep=50, return_mode="median") / 1000

    return time_on_device


def _warm_up(run: Callable[[], object], device: torch.device) -> None:
    """Run until memory has settled, which takes a few runs; once where a run takes long."""
    spent = 0.0
    for _ in range(WARM_UP_RUNS):
        spent += _time(run, device)
        if spent > WARM_UP_S:
            return


def _time(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
