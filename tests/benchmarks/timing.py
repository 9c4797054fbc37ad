"""Timing by turns: what is compared runs alternately, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


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
    """Return the seconds of each candidate in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(num_rounds + 1):
        for name, run in candidates.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
