"""Timing by turns: what is compared runs alternately, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

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
    candidates: dict[str, Callable[[], object]], num_rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of each candidate in each round, after runs that are not counted."""
    for run in candidates.values():
        _warm_up(run, device)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(num_rounds):
        for name, run in candidates.items():
            seconds[name].append(_time(run, device))
    return seconds


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
