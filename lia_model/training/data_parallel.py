"""The ranks of a data-parallel run: one of them, what they tell each other, what makes their sums repeat."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from lia_model.networks.discriminator import Discriminator
from lia_model.networks.generator import Generator

Item = TypeVar("Item")


@dataclass(frozen=True)
class DataParallel:
    """A process among those of the run."""

    rank: int = 0
    num_ranks: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module
    """Makes a network data-parallel; the default leaves it bare."""


ALONE = DataParallel()


def of_all_ranks(item: Item) -> list[Item]:
    """Return the `item` of every rank, by rank; every rank calls it at the same steps."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [item]
    gathered: list[Item | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, item)
    return gathered  # pyright: ignore[reportReturnType] - all of them are set


def is_first_rank() -> bool:
    """Return whether this process is rank 0, or alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return True
    return torch.distributed.get_rank() == 0


def wrapper_options() -> dict[str, bool]:
    """Return how DistributedDataParallel is to wrap the networks.

    Buffers are constant and so are not broadcast; the option's name depends on the version of torch.
    Gradients lie in the buckets that are sent, and are not copied there.
    """
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {option: False, "gradient_as_bucket_view": True}


class GradientMean:
    """The mean of a network's gradients over the ranks, which is taken while other work goes on.

    DistributedDataParallel starts it in buckets during the backward pass, and waits for the last of them at
    the end of the pass. With this it starts them as before, and the caller waits when it needs the gradients.

    Args:
        network: a bare one has nothing to wait for.
    """

    def __init__(self, network: nn.Module | None = None) -> None:
        self._pending: list[distributed.Work] = []
        if isinstance(network, DistributedDataParallel):
            network.register_comm_hook(network.process_group, self._start)

    @property
    def is_pending(self) -> bool:
        """Return whether a mean was started that nobody has waited for."""
        return bool(self._pending)

    def wait(self) -> None:
        """Return when the gradients hold the mean; on a GPU, let its stream wait."""
        for work in self._pending:
            work.wait()
        self._pending.clear()

    # Without types: DistributedDataParallel compares them with its own, which fails for annotations as text.
    def _start(self, group, bucket):  # noqa: ANN001, ANN202 # pyright: ignore[reportMissingParameterType]
        gradients: Tensor = bucket.buffer()
        # As without a hook: a product with the reciprocal, which is rounded differently from a quotient.
        gradients.mul_(1 / distributed.get_world_size(group))
        work = distributed.all_reduce(gradients, group=group, async_op=True)
        if work is not None:
            self._pending.append(work)
        started: Future[Tensor] = Future()
        started.set_result(gradients)
        return started


def settle_buckets(generator: nn.Module, discriminator: nn.Module, autocast: torch.autocast) -> None:
    """Run both networks forward and backward once and discard the gradients.

    DistributedDataParallel puts gradients into other buckets after its first backward pass, and from three
    ranks on the buckets decide the order of a sum. Without this pass a resumed run would add its first
    gradients in another order than a run that was not interrupted. Bare networks are left alone.
    """
    if isinstance(generator, DistributedDataParallel):
        bare: Generator = generator.module
        image = torch.zeros(1, 3, bare.settings.size_px, bare.settings.size_px, device=_device(bare))
        image = image.to(next(bare.parameters()).dtype)
        _discard_gradients(generator, (image, image), autocast)
        if isinstance(discriminator, DistributedDataParallel):
            _discard_gradients(discriminator, (image,), autocast)


def _discard_gradients(
    network: DistributedDataParallel, inputs: tuple[torch.Tensor, ...], autocast: torch.autocast
) -> None:
    with autocast:
        output = network(*inputs)
    output.float().mean().backward()
    network.zero_grad(set_to_none=True)


def _device(network: Discriminator | Generator) -> torch.device:
    return next(network.parameters()).device
