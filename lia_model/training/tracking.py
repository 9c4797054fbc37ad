"""What rank 0 of a training tells MLflow."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from lia_model.registry.runs import Run


class RunLogger:
    """Metrics and sample strips of one run; metrics wait until a checkpoint that covers them is kept.

    A killed run resumes from its last checkpoint and computes the steps since then once more; what was not
    yet committed was not yet logged, so a step is logged once.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: list[tuple[int, dict[str, float]]] = []
        self._strips: list[tuple[int, UInt8[np.ndarray, "H W 3"]]] = []

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Remember the metrics of `step`."""
        self._waiting.append((step, values))

    def add_strip(self, step: int, strip: UInt8[np.ndarray, "H W 3"]) -> None:
        """Remember a sample picture."""
        self._strips.append((step, strip))

    def commit(self) -> None:
        """Log what has been remembered."""
        for step, values in self._waiting:
            self._run.log_metrics(step, values)
        for step, strip in self._strips:
            self._run.log_image("strip", step, strip)
        self._waiting, self._strips = [], []
