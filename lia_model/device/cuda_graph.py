"""Records what a function launches on a GPU as a CUDA graph, and replays it.

A replay is one launch: in small batches, Python and the launches of single kernels take longer than the
kernels. The function must launch the same kernels on the same memory every time, so inputs are copied into
buffers of a fixed shape, and it must neither wait for the device nor copy from the host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

NUM_RUNS_BEFORE = 3
"""Libraries choose their kernels and allocate workspaces in the first runs, which are not recorded."""

Function = Callable[..., Tensor]
Replay = Callable[[], None]


class CudaGraphs:
    """Captures on one CUDA device; the graphs share a pool of memory and must not run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = None
        self._stream = None
        self._ended = None

    def capture(self, function: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        """Record `function`; return how to repeat it, and its result, which each repetition overwrites."""
        # One stream for all: a graph reuses only that memory of the pool which came from its own stream.
        self._stream = self._stream or torch.cuda.Stream()
        outside, stream = torch.cuda.current_stream(), self._stream
        stream.wait_stream(outside)
        with torch.cuda.stream(stream):
            for _ in range(NUM_RUNS_BEFORE):
                function()
        outside.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile: in the mode `global`, a video decoder's calls would end the capture.
        with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
            result = function()
        self._pool = graph.pool()
        return graph.replay, result

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Choose the device, and make what the block launches wait for the block before.

        The thread and its stream may be others than that block's; a new thread's device is the first GPU.
        """
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            if self._ended is not None:
                stream.wait_event(self._ended)
            try:
                yield
            finally:
                self._ended = stream.record_event()


class Recorder:
    """Turns functions of tensors into recorded ones that compute the same.

    A recording is made at the first call with tensors of new shapes or types. Recordings of one recorder run
    one at a time, in any thread.

    Args:
        graphs: captures them.
    """

    def __init__(self, graphs: CudaGraphs) -> None:
        self._graphs = graphs
        self._lock = threading.Lock()

    def record(self, function: Function) -> Function:
        """Return the recorded `function`, of tensors to a tensor; each call returns a new one.

        A tensor passed twice in a row is not copied again, so callers must not write to what they pass.
        """
        recordings: dict[object, _Recording] = {}

        def recorded(*inputs: Tensor) -> Tensor:
            kind = tuple((each.shape, each.dtype) for each in inputs)
            with self._lock, self._graphs.turn():
                if kind not in recordings:
                    recordings[kind] = _Recording(function, inputs, self._graphs)
                return recordings[kind](inputs)

        return recorded


class _Recording:
    """One function at one combination of shapes and types."""

    def __init__(self, function: Function, inputs: tuple[Tensor, ...], graphs: CudaGraphs) -> None:
        buffers = [torch.empty_like(each) for each in inputs]
        self._buffers = buffers
        self._held: list[Tensor | None] = [None] * len(inputs)
        self._load(inputs)
        self._replay, self._result = graphs.capture(lambda: function(*buffers))

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        self._load(inputs)
        self._replay()
        return self._result.clone()

    def _load(self, inputs: tuple[Tensor, ...]) -> None:
        for number, (buffer, given) in enumerate(zip(self._buffers, inputs, strict=True)):
            if self._held[number] is not given:
                buffer.copy_(given)
                self._held[number] = given
