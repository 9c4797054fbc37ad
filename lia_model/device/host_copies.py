"""Copies results from a GPU through page-locked buffers, while the host goes on.

A plain copy makes the host wait until the device has computed what is copied, so that the device idles while
the host prepares the next batch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

Finish = Callable[[], np.ndarray]
"""Waits for the end of a copy and returns the array, which is the caller's own."""
Fetch = Callable[[Tensor], Finish]
"""Starts the copy of a tensor to the host."""
Wait = Callable[[], None]


def copies_from(device: torch.device) -> Fetch:
    """Return what starts copies from `device`; on the CPU nothing is copied."""
    if device.type != "cuda":
        return lambda x: x.numpy
    return HostCopies(_allocate_pinned, _start_copy).start


def num_ahead(device: torch.device) -> int:
    """Return how many batches to launch before the oldest one is waited for."""
    return 1 if device.type == "cuda" else 0


def in_turn(started: Iterable[tuple[Finish, int]], num_ahead: int) -> Iterator[np.ndarray]:
    """Yield the rows of the batches, of each as many as its number says.

    A batch is waited for when `num_ahead` more are started.
    """
    waiting: deque[tuple[Finish, int]] = deque()
    for each in started:
        waiting.append(each)
        if len(waiting) > num_ahead:
            finish, num_rows = waiting.popleft()
            yield from finish()[:num_rows]
    for finish, num_rows in waiting:
        yield from finish()[:num_rows]


class HostCopies:
    """Buffers that are used again once their copy has ended and was read.

    Safe to share between threads.

    Args:
        allocate: returns that many bytes of memory that the device can write to.
        start_copy: starts the copy of a tensor into a buffer of its shape and type; returns how to wait for
            its end.
    """

    def __init__(
        self, allocate: Callable[[int], Tensor], start_copy: Callable[[Tensor, Tensor], Wait]
    ) -> None:
        self._allocate = allocate
        self._start_copy = start_copy
        # Its operations are atomic.
        self._free: deque[UInt8[Tensor, " bytes"]] = deque()

    def start(self, x: Shaped[Tensor, ...]) -> Finish:
        """Start the copy of `x`; the result must be called once."""
        num_bytes = math.prod(x.shape) * x.element_size()
        memory = self._buffer(num_bytes)
        host = memory[:num_bytes].view(x.dtype).view(x.shape)
        wait = self._start_copy(x.contiguous(), host)

        def finish() -> np.ndarray:
            wait()
            copied = host.numpy().copy()
            self._free.append(memory)
            return copied

        return finish

    def _buffer(self, num_bytes: int) -> UInt8[Tensor, " bytes"]:
        try:
            free = self._free.popleft()
        except IndexError:
            return self._allocate(num_bytes)
        return free if len(free) >= num_bytes else self._allocate(num_bytes)


def _allocate_pinned(num_bytes: int) -> Tensor:
    return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)


def _start_copy(x: Tensor, host: Tensor) -> Wait:
    # The device of a thread is the first GPU, until it chooses another.
    with torch.cuda.device(x.device):
        host.copy_(x, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
    return done.synchronize
