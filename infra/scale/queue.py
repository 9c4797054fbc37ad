"""How long jobs wait: a simulation of the queue, event by event, with arrivals and lengths at random."""

import heapq
import random
from dataclasses import dataclass

_SPREAD = 0.5
"""Standard deviation of the logarithm of a job's length."""


@dataclass(frozen=True)
class Waiting:
    """What the jobs of a simulation met."""

    mean_s: float
    median_s: float
    p99_s: float
    refused: float
    """Share of jobs that found the queue full."""


def simulate(
    *, jobs_per_s: float, job_s: float, num_workers: int, max_num_queued: float, duration_s: float, seed: int
) -> Waiting:
    """Let jobs arrive at random and be done by the first free worker, in order.

    Args:
        jobs_per_s: mean rate of arrivals.
        job_s: mean time of one job on one worker.
        num_workers: jobs that are done at a time.
        max_num_queued: a job that finds as many waiting is refused.
        duration_s: of the arrivals.
        seed: of the random numbers; equal seeds give equal results.
    """
    chance = random.Random(seed)
    free_at = [0.0] * num_workers
    starts: list[float] = []
    waits, num_refused, now = [], 0, 0.0
    while (now := now + chance.expovariate(jobs_per_s)) < duration_s:
        while starts and starts[0] <= now:
            heapq.heappop(starts)
        if len(starts) >= max_num_queued:
            num_refused += 1
            continue
        start = max(now, heapq.heappop(free_at))
        # The mean of this distribution is exp(mu + spread^2 / 2), here 1.
        heapq.heappush(free_at, start + job_s * chance.lognormvariate(-(_SPREAD**2) / 2, _SPREAD))
        heapq.heappush(starts, start)
        waits.append(start - now)
    waits.sort()
    return Waiting(
        mean_s=sum(waits) / len(waits),
        median_s=waits[len(waits) // 2],
        p99_s=waits[len(waits) * 99 // 100],
        refused=num_refused / (len(waits) + num_refused),
    )
