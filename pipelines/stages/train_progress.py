"""Lines of progress, and the workers' warnings, while the workers of a training write its journal."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from prefect import get_run_logger

from lia_model.registry.run_journal import entries
from lia_model.training.tracking.run_logger import TRACE
from preprocessing.background import in_background

INTERVAL_S = 5


def logged_progress(journal: Path, num_steps: int) -> AbstractContextManager[None]:
    """Log a line whenever the workers have added further steps to the run's journal, and each warning."""
    logger = get_run_logger()

    def watch(stop: threading.Event) -> None:
        read_bytes, started_s = _end(journal), time.monotonic()
        while not stop.wait(INTERVAL_S):
            line = None
            for entry, end_bytes in entries(journal, read_bytes):
                read_bytes = end_bytes
                line = entry if "loss/l1" in entry.get("metrics", {}) else line
                if "warning" in entry:
                    logger.warning("%s", entry["warning"])
                if entry.get("text") == TRACE:
                    logger.info("%s", entry["content"].strip())
            if line is not None:
                step, value = line["step"], line["metrics"]["loss/l1"]
                logger.info(
                    "step %d/%d, l1 %.4f, %.0f s", step, num_steps, value, time.monotonic() - started_s
                )

    return in_background(watch, "training progress")


def _end(journal: Path) -> int:
    return max((offset_bytes for _, offset_bytes in entries(journal)), default=0)
