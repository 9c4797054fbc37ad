"""Copies arrays to a GPU through a ring of page-locked buffers, while the host goes on.

From ordinary memory a copy makes the host wait, whatever `non_blocking` says: the driver moves it through a
page-locked buffer of its own first.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

NUM_BUFFERS = 4
"""Copies that may be under way at the same time."""

Stack = Callable[[Sequence[np.ndarray] | np.ndarray], Tensor]
"""Takes arrays of one shape and type, and returns them as one tensor with a new first axis."""
Wait = Callable[[], None]


def copies_to(device: torch.device) -> Stack:
    """Return what stacks arrays on `device`; on the CPU one array of all of them is not copied."""
    if device.type != "cuda":
        return lambda arrays: torch.from_numpy(np.asarray(arrays)).to(device)
    return PinnedRing(_allocate_pinned, lambda host: _start_copy(host, device)).stack


@dataclass
class _Buffer:
    memory: UInt8[Tensor, " bytes"] | None = None
    wait: Wait | None = None
    """Returns once the copy out of the buffer has ended; None before the first one."""


class PinnedRing:
    """Buffers that are filled in turn, each one when the copy out of it has ended.

    Safe to share between threads.

    Args:
        allocate: returns that many bytes of memory that the device can read.
        start_copy: starts the copy of a buffer; returns the tensor it goes to and how to wait for its end.
        num_buffers: length of the ring.
    """

    def __init__(
        self,
        allocate: Callable[[int], Tensor],
        start_copy: Callable[[Tensor], tuple[Tensor, Wait]],
        num_buffers: int = NUM_BUFFERS,
    ) -> None:
        self._allocate = allocate
        self._start_copy = start_copy
        self._buffers = [_Buffer() for _ in range(num_buffers)]
        self._turn = 0
        self._lock = threading.Lock()

    def stack(self, arrays: Sequence[np.ndarray] | np.ndarray) -> Shaped[Tensor, "N ..."]:
        """Start the copy of the stacked arrays and return the tensor they arrive in."""
        shape = (len(arrays), *arrays[0].shape)
        with self._lock:
            buffer = self._buffers[self._turn]
            self._turn = (self._turn + 1) % len(self._buffers)
            if buffer.wait is not None:
                buffer.wait()
            num_bytes = math.prod(shape) * arrays[0].itemsize
            if buffer.memory is None or len(buffer.memory) < num_bytes:
                buffer.memory = self._allocate(num_bytes)
            filled = buffer.memory[:num_bytes].numpy().view(arrays[0].dtype).reshape(shape)
            np.stack(list(arrays), out=filled)
            sent, buffer.wait = self._start_copy(torch.from_numpy(filled))
        return sent


def _allocate_pinned(num_bytes: int) -> Tensor:
    return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)


def _start_copy(host: Tensor, device: torch.device) -> tuple[Tensor, Wait]:
    # The device of a thread is the first GPU, until it chooses another.
    with torch.cuda.device(device):
        sent = host.to(device, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
    return sent, done.synchronize
