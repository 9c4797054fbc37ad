"""How many replicas animate, decided by the jobs that wait and run.

Replicas take jobs from the database, so Ray Serve sees no requests to count. Each replica reports the numbers
of jobs instead, and Serve's controller calls the policy with them. It runs there by value, apart from this
package, so it uses the standard library alone.
"""

import math
from typing import Any, Protocol, no_type_check, runtime_checkable

QUEUED = "lia_queued_jobs"
RUNNING = "lia_running_jobs"
BUSY = "lia_busy_replicas"
"""Fewest replicas that can run the running jobs."""


@runtime_checkable
class ReplicaFigures(Protocol):
    """The part of Ray's `AutoscalingContext` that the policy reads."""

    aggregated_metrics: Any
    """Mean of each reported number by its name and replica."""
    target_num_replicas: int
    """How many replicas there are to be so far."""
    config: Any
    """Ray's `AutoscalingConfig`; `target_ongoing_requests` are the jobs for each replica."""


# A check of types that is wrapped around it, as in the tests, could not be sent by value.
@no_type_check
def follow_backlog(figures: ReplicaFigures) -> tuple[int, dict[str, Any]]:
    """Return how many replicas there should be, before Ray applies the bounds and delays, and no state.

    At least as many as are busy, so that a shrinking service rarely interrupts a job.
    """
    reported = figures.aggregated_metrics or {}
    # Every replica counts the jobs of the same database; a report may be late.
    queued = max(reported.get(QUEUED, {}).values(), default=None)
    running = max(reported.get(RUNNING, {}).values(), default=None)
    busy = max(reported.get(BUSY, {}).values(), default=None)
    if queued is None or running is None or busy is None:
        return figures.target_num_replicas, {}
    wanted = (queued + running) / figures.config.target_ongoing_requests
    return max(math.ceil(wanted), math.ceil(busy), 1), {}
