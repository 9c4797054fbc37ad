"""Logs rank 0's metrics and sample strips to MLflow, once per step however often a run is resumed."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from lia_model.registry.runs import Run
from lia_model.training.damage import Damage


class RunLogger:
    """Buffers metrics and strips of one run until a checkpoint that covers them has been saved.

    A killed run resumes from its last checkpoint and repeats the steps since then. Those were not committed
    and so not logged; each step is logged once.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._metrics: list[tuple[int, dict[str, float]]] = []
        self._strips: list[tuple[int, UInt8[np.ndarray, "H W 3"]]] = []

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Buffer the metrics of `step`."""
        self._metrics.append((step, values))

    def add_strip(self, step: int, strip: UInt8[np.ndarray, "H W 3"]) -> None:
        """Buffer a sample picture."""
        self._strips.append((step, strip))

    def log_damage(self, damage: Damage) -> None:
        """Log at once which frames do not decode: the run may end because of them."""
        self._run.log_damaged_frames(damage.counters()["damaged_frames"])

    def commit(self) -> None:
        """Log everything buffered."""
        for step, values in self._metrics:
            self._run.log_metrics(step, values)
        for step, strip in self._strips:
            self._run.log_image("strip", step, strip)
        self._metrics, self._strips = [], []
