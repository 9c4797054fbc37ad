"""How a step's time grows with the number of GPUs, computed for the recipe of the vox256 preset.

Measured on the CPU: how many bytes of gradients are exchanged, in which buckets, and after which part of the
step's computing time each bucket is ready. Assumed: how long a GPU computes, and the links between GPUs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import torch
from torch import distributed, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from lia_model.losses.terms import build_objective
from lia_model.networks.build import build_discriminator, build_generator
from lia_model.settings import OptimizerSettings
from lia_model.training.data_parallel import wrapper_options
from lia_model.training.state import build_optimizers
from lia_model.training.step import Networks, training_step
from tests.benchmarks.model import published_network
from tests.benchmarks.timing import Row
from tests.published_losses import published_losses

SIZE_PX = 256
PAIRS_PER_GPU = (8, 32)
"""In one micro-batch; of several, gradients are exchanged during the last one alone."""
TARGET_PAIRS_PER_S = 350.0
"""Of one GPU: the speed that is aimed at; a slower GPU scales better."""
NUM_GPUS = 64


@dataclass(frozen=True)
class Link:
    """What every GPU has to reach the others."""

    bytes_per_s: float
    latency_s: float


LINKS = (Link(25e9, 1e-5), Link(50e9, 1e-5))
"""Adapters of 200 and 400 Gbit/s a GPU."""


@dataclass(frozen=True)
class Bucket:
    """Gradients that the GPUs exchange together."""

    network: str
    num_bytes: int
    ready: float
    """Share of the step's computing time after which it is complete."""


def all_reduce_s(num_bytes: int, num_gpus: int, link: Link) -> float:
    """Return how long a ring of GPUs takes to sum `num_bytes`, with the latency of a tree."""
    if num_gpus == 1:
        return 0.0
    moved = 2 * (num_gpus - 1) / num_gpus * num_bytes
    return moved / link.bytes_per_s + 2 * math.log2(num_gpus) * link.latency_s


def step_s(compute_s: float, buckets: Sequence[Bucket], num_gpus: int, link: Link) -> float:
    """Return how long a step takes.

    Buckets are sent one after the other while the backward pass goes on; after a network's last one, which is
    complete when that pass ends, the step waits until it has arrived.

    Args:
        compute_s: how long one GPU computes.
        buckets: in the order in which they are ready; those of a network follow each other.
        num_gpus: that exchange gradients.
        link: of each.
    """
    waited_s = 0.0
    for _, own in groupby(buckets, lambda bucket: bucket.network):
        arrived_s = ready_s = 0.0
        for bucket in own:
            ready_s = waited_s + bucket.ready * compute_s
            arrived_s = max(arrived_s, ready_s) + all_reduce_s(bucket.num_bytes, num_gpus, link)
        waited_s += arrived_s - ready_s
    return compute_s + waited_s


def measure(vgg: Path) -> Iterator[Row]:
    """Yield the modelled step of 64 GPUs for each number of pairs and each link, beside that of one GPU."""
    buckets = measure_buckets(vgg if vgg.is_file() else None)
    sums = {
        name: sum(bucket.num_bytes for bucket in own)
        for name, own in groupby(buckets, lambda bucket: bucket.network)
    }
    exchanged = ", ".join(f"{name} {total / 1e6:.0f} MB" for name, total in sums.items())
    for num_pairs, link in product(PAIRS_PER_GPU, LINKS):
        compute_s = num_pairs / TARGET_PAIRS_PER_S
        modelled_s = step_s(compute_s, buckets, NUM_GPUS, link)
        sent_s = sum(all_reduce_s(bucket.num_bytes, NUM_GPUS, link) for bucket in buckets)
        efficiency, alone = compute_s / modelled_s, compute_s / (compute_s + sent_s)
        note = (
            f"efficiency {efficiency:.3f}, without overlap {alone:.3f}; "
            f"measured: {exchanged} a step in {len(buckets)} buckets; "
            f"assumed: {TARGET_PAIRS_PER_S:.0f} pairs/s a GPU, "
            f"{link.bytes_per_s / 1e9:.0f} GB/s and {link.latency_s * 1e6:.0f} us a GPU"
        )
        name = f"modelled, {NUM_GPUS} GPUs, {num_pairs} pairs each, {link.bytes_per_s / 1e9:.0f} GB/s"
        yield Row("training", name, {"ours": [modelled_s], "one GPU": [compute_s]}, note)


def measure_buckets(vgg: Path | None, width: float = 1.0, size_px: int = SIZE_PX) -> list[Bucket]:
    """Take two steps of the published recipe on one pair; return the buckets of the second.

    DistributedDataParallel forms the buckets that it keeps after the first backward pass.
    """
    network = published_network(size_px).model_copy(update={"width": width})
    bare = {"G": build_generator(network, 0), "D": build_discriminator(network, 1)}
    bare["G"].synthesis.weaken_flow(0.05, 2.0)
    optimizers = build_optimizers(bare["G"], bare["D"], OptimizerSettings.model_validate("paper"))
    objective = build_objective(published_losses(vgg, "fp32"), torch.device("cpu"))
    autocast = torch.autocast("cpu", enabled=False)
    source, driving = torch.rand(2, 1, 3, size_px, size_px) * 2 - 1
    found: list[tuple[str, int, float]] = []
    with _alone():
        wrapped = {name: _recording(module, name, found) for name, module in bare.items()}
        networks = Networks(wrapped["G"], wrapped["D"], *optimizers)
        started_s = 0.0
        for step in range(2):
            found.clear()
            started_s = time.perf_counter()
            training_step(networks, source, driving, step=step, objective=objective, autocast=autocast)
        elapsed_s = time.perf_counter() - started_s
    return [Bucket(name, num_bytes, (at_s - started_s) / elapsed_s) for name, num_bytes, at_s in found]


def _recording(module: nn.Module, name: str, found: list[tuple[str, int, float]]) -> DistributedDataParallel:
    """Wrap a network as training does; note each bucket when it is complete instead of sending it."""

    # Torch compares annotations, which here are strings, with its types.
    def note(_, bucket):
        gradients = bucket.buffer()
        found.append((name, gradients.numel() * gradients.element_size(), time.perf_counter()))
        done: Future[torch.Tensor] = Future()
        done.set_result(gradients)
        return done

    wrapped = DistributedDataParallel(module, **wrapper_options())
    wrapped.register_comm_hook(None, note)
    return wrapped


@contextmanager
def _alone() -> Iterator[None]:
    """A process group of this process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()
