"""The Ray actor that keeps a run's journal on the machine that started the training, wherever rank 0 runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ray
from jaxtyping import UInt8
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lia_model.registry.run_journal import RunJournal


class RemoteJournal:
    """Passes everything on to the actor in the order of the calls, from any process of the cluster."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handle has the methods of its class
        self._actor = actor

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep the metrics of `step`, soon."""
        self._actor.add_metrics.remote(step, values)

    def add_picture(self, name: str, step: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Keep an RGB picture of `step`, soon."""
        self._actor.add_picture.remote(name, step, picture)

    def add_text(self, path: str, content: str) -> None:
        """Keep a text artifact, soon."""
        self._actor.add_text.remote(path, content)

    def add_checkpoint(self, step: int) -> None:
        """Note that a checkpoint of `step` is stored, soon."""
        self._actor.add_checkpoint.remote(step)

    def add_warning(self, content: str) -> None:
        """Note a warning of a worker, soon."""
        self._actor.add_warning.remote(content)

    def sync(self) -> None:
        """Return once everything so far is on disk.

        Raises:
            OSError: the disk does not take it.
        """
        ray.get(self._actor.sync.remote())

    def close(self) -> None:
        """End the actor."""
        ray.kill(self._actor)


def open_journal(folder: Path) -> RemoteJournal:
    """Start the actor on this machine, on the journal in `folder`."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # After its death it reads the journal again and takes what it had not confirmed.
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return RemoteJournal(ray.remote(RunJournal).options(**options).remote(folder))
