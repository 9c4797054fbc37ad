"""Joins the metrics of all ranks, and measures the machine of each: memory, processor and GPU.

MLflow's own monitor of a machine ends at the first request that fails and counts steps of its own; these
values stand at the training step, in the run's journal.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import time
from dataclasses import dataclass

import psutil
import torch

from lia_model.training.data_parallel import of_all_ranks

SUMMED = ("speed/pairs_per_s",)
WORST = ("speed/data_wait_share",)
GPU_QUERY = {
    "utilization.gpu": "utilization_percent",
    "power.draw": "power_w",
    "temperature.gpu": "temperature_c",
}
GPU_TIMEOUT_S = 5
# Asking takes a tenth of a second.
GPU_INTERVAL_S = 30


@dataclass(frozen=True)
class OfRank:
    """What one rank reports at a step."""

    metrics: dict[str, float]
    machine: dict[str, float]
    num_pairs: int


def joined(metrics: dict[str, float], machine: dict[str, float], num_pairs: int) -> dict[str, float]:
    """Return the metrics of a step over all ranks; every rank calls it at the same steps.

    Losses and norms are means over the pairs of all ranks, pairs per second their sum, and the wait for data
    the longest, since every rank waits for the slowest. With several ranks each one's machine has the rank in
    its names.

    Args:
        metrics: of this rank.
        machine: what was measured of this rank's machine.
        num_pairs: that this rank takes of every batch.
    """
    ranks = of_all_ranks(OfRank(metrics, machine, num_pairs))
    found = {name: _combined(name, ranks) for name in metrics}
    found["system/num_workers"] = float(len(ranks))
    for number, rank in enumerate(ranks):
        prefix = f"system/rank_{number}" if len(ranks) > 1 else "system"
        found |= {f"{prefix}/{name}": value for name, value in rank.machine.items()}
    return found


def _combined(name: str, ranks: list[OfRank]) -> float:
    values = [rank.metrics[name] for rank in ranks]
    if name in SUMMED:
        return sum(values)
    if name in WORST:
        return max(values)
    total = sum(value * rank.num_pairs for value, rank in zip(values, ranks, strict=True))
    return total / sum(rank.num_pairs for rank in ranks)


class Machine:
    """Measures this process and its machine."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._gpu: dict[str, float] = {}
        self._asked_s = -math.inf

    def measure(self) -> dict[str, float]:
        """Return memory in GB and the use of all cores in percent since the last call; the GPU's, if used."""
        memory = psutil.virtual_memory()
        measured = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_gb": (memory.total - memory.available) / 1e9,
            "process_memory_gb": psutil.Process().memory_info().rss / 1e9,
        }
        if self._device.type != "cuda":
            return measured
        if time.monotonic() - self._asked_s > GPU_INTERVAL_S:
            self._asked_s = time.monotonic()
            self._gpu = ask_gpu(str(torch.cuda.get_device_properties(self._device).uuid))
        measured["gpu_memory_gb"] = torch.cuda.memory_allocated(self._device) / 1e9
        measured["gpu_peak_memory_gb"] = torch.cuda.max_memory_allocated(self._device) / 1e9
        return measured | self._gpu


def ask_gpu(uuid: str) -> dict[str, float]:
    """Ask NVIDIA's tool, which comes with the driver, about a GPU; without an answer, nothing is known."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--id=GPU-{uuid}", f"--query-gpu={','.join(GPU_QUERY)}"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            check=True, capture_output=True, text=True, timeout=GPU_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_gpu(done.stdout)


def parse_gpu(answer: str) -> dict[str, float]:
    """Return the numbers of a line of NVIDIA's tool by name; what a GPU does not measure is left out."""
    (values,) = csv.reader([answer.strip()])
    known = zip(GPU_QUERY.values(), (value.strip() for value in values), strict=True)
    return {f"gpu_{name}": float(value) for name, value in known if value.replace(".", "", 1).isdigit()}
