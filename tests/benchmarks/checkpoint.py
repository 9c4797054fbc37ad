"""A checkpoint of the full-width state: what training waits for, and what writing it costs training."""

from __future__ import annotations

import copy
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from lia_model.checkpoints.directory import write_generator
from lia_model.checkpoints.file_hashes import write_hashes
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import OptimizerSettings
from lia_model.training.state import (
    Snapshot,
    TrainingState,
    build_optimizers,
    take_snapshot,
    write_snapshot,
)
from tests.benchmarks.model import published_network
from tests.benchmarks.timing import Row

INTERVAL_STEPS = 5000
"""Of the checkpoints of the vox256 preset."""
TARGET_PAIRS_PER_S = 350
BATCH_SIZE = 64
WORK_S = 8.0


def measure(num_rounds: int, device: torch.device) -> Iterator[Row]:
    """Time the copy that training waits for against writing at once, and what the writer takes from it."""
    state = _full_state(device)
    waits, written, slowed = [], [], []
    for _ in range(num_rounds + 1):
        started_s = time.perf_counter()
        snapshot = take_snapshot(state)
        waits.append(time.perf_counter() - started_s)
        with tempfile.TemporaryDirectory() as folder:
            written.append(waits[-1] + _timed_write(snapshot, Path(folder)))
            size_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        slowed.append(_slowdown(snapshot, device))
    # At the speed that a fast GPU is to reach, whose intervals are the shortest.
    interval_s = INTERVAL_STEPS * BATCH_SIZE / TARGET_PAIRS_PER_S
    cost_s = max(waits[1:]) + max(0.0, *slowed[1:])
    note = (
        f"{size_bytes / 1e9:.2f} GB; the wait and {max(slowed[1:]):.2f} s by which the writer slows training "
        f"are {100 * cost_s / interval_s:.2f} % of an interval of {interval_s:.0f} s"
    )
    yield Row("checkpoint", "256 px, full width", {"ours": waits[1:], "written at once": written[1:]}, note)


def _full_state(device: torch.device) -> TrainingState:
    network = published_network(256)
    generator, discriminator = (
        build_generator(network, 0).to(device),
        build_discriminator(network, 1).to(device),
    )
    optimizers = build_optimizers(generator, discriminator, OptimizerSettings.model_validate("paper"))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
    average = copy.deepcopy(generator)
    return TrainingState(generator, discriminator, average, *optimizers, step=0, num_pairs=0)


def _timed_write(snapshot: Snapshot, folder: Path) -> float:
    started_s = time.perf_counter()
    write_snapshot(snapshot, folder, {})
    (folder / "released").mkdir()
    write_generator(folder / "released", snapshot.network, snapshot.released_generator(0.999), {})
    write_hashes(folder)
    return time.perf_counter() - started_s


def _slowdown(snapshot: Snapshot, device: torch.device) -> float:
    """Return by how many seconds a checkpoint, written meanwhile, delays a fixed amount of computing."""
    factor = torch.rand(1024, 1024, device=device)
    num_products, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < WORK_S:
        _multiply(factor)
        num_products += 1
    alone_s = time.perf_counter() - started_s
    with tempfile.TemporaryDirectory() as folder:
        writer = threading.Thread(target=_timed_write, args=(snapshot, Path(folder)))
        started_s = time.perf_counter()
        writer.start()
        for _ in range(num_products):
            _multiply(factor)
        busy_s = time.perf_counter() - started_s
        writer.join()
    return busy_s - alone_s


def _multiply(factor: torch.Tensor) -> None:
    factor @ factor
    if factor.is_cuda:
        torch.cuda.synchronize()
