"""Whether a Ray cluster has room for the workers of a training, before Ray waits for it without a word."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0
"""How long nodes may take to join."""
POLL_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a training asks of a cluster."""

    num_workers: int
    """The fewest that it can run with."""
    per_worker: Mapping[str, float]
    """Ray's resources, such as CPU and GPU."""

    def num_fitting(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """Return how many workers fit on the nodes that are alive, whoever uses them now."""
        return sum(
            min(int(node["Resources"].get(name, 0) // need) for name, need in self.per_worker.items())
            for node in nodes
            if node["Alive"]
        )


def wait_for_room(
    wanted: Wanted, nodes: Callable[[], Sequence[Mapping[str, Any]]], timeout_s: float = TIMEOUT_S
) -> None:
    """Return once the cluster is large enough.

    Args:
        wanted: by the training.
        nodes: returns the cluster's nodes, as `ray.nodes` does.
        timeout_s: how long nodes may take to join.

    Raises:
        ValueError: it is not; the message names what was asked and what there is.
    """
    deadline_s = time.monotonic() + timeout_s
    is_told = False
    while (num_fitting := wanted.num_fitting(known := nodes())) < wanted.num_workers:
        if time.monotonic() > deadline_s:
            raise ValueError(
                f"the training asks for {wanted.num_workers} workers of {_named(wanted.per_worker)}; the "
                f"cluster has {_total(known, wanted)}, room for {num_fitting}: lower train.num_workers or "
                "train.use_gpu, or add nodes"
            )
        if not is_told:
            log.info("waiting for nodes: %d of %d workers fit", num_fitting, wanted.num_workers)
        is_told = True
        time.sleep(POLL_S)


def _named(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _total(nodes: Sequence[Mapping[str, Any]], wanted: Wanted) -> str:
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    sums = {name: sum(each.get(name, 0) for each in alive) for name in wanted.per_worker}
    return f"{_named(sums)} on {len(alive)} {'node' if len(alive) == 1 else 'nodes'}"
