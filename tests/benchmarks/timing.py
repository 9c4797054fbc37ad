"""Timing by turns: what is compared runs alternately, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


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


def ratio(seconds: dict[str, list[float]], slower: str, faster: str) -> float:
    """Return how many times as long `slower` takes: the median over rounds."""
    return statistics.median(a / b for a, b in zip(seconds[slower], seconds[faster], strict=True))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
