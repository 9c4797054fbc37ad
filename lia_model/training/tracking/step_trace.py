"""A trace of a few steps of a training by torch's profiler, to be looked at in a browser.

It records the training's thread, autograd's, and kernels on a GPU; decoding, in a thread of its own, is seen
as the wait for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

NUM_WARM_UP_STEPS = 5
"""Steps before the recorded ones: memory is allocated, and libraries choose their algorithms."""
NUM_RECORDED_STEPS = 12
"""As many as most intervals of lazy terms divide; a run that ends before records fewer."""
FOLDER = "profile"


class StepTrace:
    """Records steps of this process; give `after_step` to the loop as the hook `on_step`.

    Args:
        num_steps: at the end of the run.
        keep: gets the trace as a file, which it moves or copies, and the name to keep it under.
    """

    def __init__(self, num_steps: int, keep: Callable[[Path, str], None]) -> None:
        self._num_steps = num_steps
        self._keep = keep
        self._num_seen = 0
        self._first = 0
        self._profiler: profile | None = None

    def after_step(self, step: int) -> None:
        """Begin, go on or end, after update `step`."""
        self._num_seen += 1
        if self._num_seen == NUM_WARM_UP_STEPS and step < self._num_steps:
            self._first = step + 1
            self._profiler = profile(activities=_activities(), record_shapes=True)
            self._profiler.start()
        elif self._profiler is not None and (
            step + 1 - self._first == NUM_RECORDED_STEPS or step == self._num_steps
        ):
            self._write(self._profiler, step)
            self._profiler = None

    def _write(self, profiler: profile, last: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        profiler.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json.gz"
            profiler.export_chrome_trace(str(path))
            self._keep(path, f"steps-{self._first:08d}-{last:08d}.json.gz")


def require_steps(step: int, num_steps: int) -> None:
    """Check that a run has steps left to record.

    Args:
        step: where it starts or resumes.
        num_steps: at its end.

    Raises:
        ValueError: it has too few.
    """
    left, wanted = max(0, num_steps - step), NUM_WARM_UP_STEPS + 1
    if left < wanted:
        raise ValueError(
            f"got --profile with {left} steps left of {num_steps}; a trace needs {wanted}: raise "
            "train.num_steps, or leave --profile out"
        )


def announced(place: str) -> str:
    """Return the line that tells where a trace is and how to look at it."""
    return f"a trace of some steps is in {place}: open it at https://ui.perfetto.dev, or in chrome://tracing"


def _activities() -> list[ProfilerActivity]:
    on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return [ProfilerActivity.CPU, *on_gpu]
