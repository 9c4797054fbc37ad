"""Measures what models cost, each in a process of its own, as a service would load them.

The models take turns, so that what else the machine does weighs on all of them alike. Each process answers
requests of `CostProbe`; see `preprocessing.sandbox.child_server`.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import torch

from lia_model.animator import Animator
from lia_model.evaluation.champion.cost import Cost
from lia_model.settings import CostSettings, EvaluateSettings
from preprocessing.sandbox.child_server import ChildServer, answer_requests

_MODULE = "lia_model.evaluation.champion.cost_probe"
_STATUS = Path("/proc/self/status")


def measure_costs(
    checkpoints: Sequence[Path], settings: CostSettings, evaluation: EvaluateSettings
) -> list[Cost]:
    """Return the cost of each checkpoint directory, in order.

    Args:
        checkpoints: directories of the models.
        settings: how many frames and rounds.
        evaluation: device, precision and batch size.

    Raises:
        ChildError: a process died, for want of memory for example.
    """
    requests = [
        json.dumps(
            {
                "checkpoint": str(checkpoint),
                "device": evaluation.device,
                "precision": evaluation.precision,
                "batch_size": evaluation.batch_size,
                "num_frames": settings.num_frames,
            }
        )
        for checkpoint in checkpoints
    ]
    with ExitStack() as stack:
        # Whatever its size, a process is kept: it is its memory that is measured.
        children = [stack.enter_context(ChildServer(_MODULE, max_idle_bytes=None)) for _ in checkpoints]
        rounds = [
            [json.loads(child.ask(request)) for child, request in zip(children, requests, strict=True)]
            for _ in range(settings.num_rounds)
        ]
    return [
        Cost(
            statistics.median(answer["latency_ms"] for answer in answers),
            max(answer["peak_bytes"] for answer in answers),
        )
        for answers in zip(*rounds, strict=True)
    ]


def _answer(text: str) -> str:
    request = json.loads(text)
    num_frames, batch_size = request["num_frames"], request["batch_size"]
    animator = _warm(request["checkpoint"], request["device"], request["precision"], num_frames, batch_size)
    start = time.perf_counter()
    _animate(animator, num_frames, batch_size)
    latency_ms = 1000 * (time.perf_counter() - start) / num_frames
    return json.dumps({"latency_ms": latency_ms, "peak_bytes": _peak_bytes(animator.device)})


@cache
def _warm(checkpoint: str, device: str, precision: str, num_frames: int, batch_size: int) -> Animator:
    """Load a model and animate once, which takes longer than later."""
    animator = Animator.load(checkpoint, device, precision)  # pyright: ignore[reportArgumentType]
    _animate(animator, num_frames, batch_size)
    return animator


def _animate(animator: Animator, num_frames: int, batch_size: int) -> None:
    size = (animator.size_px, animator.size_px, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    # The frames arrive in the CPU's memory, so a GPU has finished.
    for _ in animator.animate(noise, [noise] * num_frames, "relative", batch_size):
        pass


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.is_file():
        # Unlike getrusage, it does not count what the parent held when it started this process.
        found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())
        assert found is not None
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    answer_requests(_answer)
