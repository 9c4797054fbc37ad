"""Common batches of what several threads compute."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from lia_model.device.host_copies import Finish

T = TypeVar("T")
Start = Callable[[Sequence[T], int], Finish]
"""Starts the computation of rows, of which a batch of the given size has room for at least as many."""


class _Request:
    """Rows that one thread wants, and what is there of their results."""

    def __init__(self, num_rows: int) -> None:
        self._results: list[np.ndarray | None] = [None] * num_rows
        self._num_missing = num_rows
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self._num_missing == 0 or self._error is not None

    def deliver(self, number: int, result: np.ndarray) -> None:
        self._results[number] = result
        self._num_missing -= 1

    def fail(self, error: Exception) -> None:
        self._error = error

    def result(self) -> np.ndarray:
        if self._error is not None:
            raise self._error
        return np.stack([row for row in self._results if row is not None])


class _Row(NamedTuple):
    request: _Request
    number: int
    item: Any


class CommonBatches(Generic[T]):
    """Computes rows of several threads in common batches, the oldest rows first.

    It has no thread of its own: whoever adds rows or waits for results starts the next batch, with the rows
    of all. A batch that is not full starts once no other runs, so that rows may still join it.

    Args:
        num_ahead: full batches to start before the oldest one is waited for.
    """

    def __init__(self, num_ahead: int) -> None:
        self._num_ahead = num_ahead
        # Its operations are atomic; only the thread whose turn it is takes rows out.
        self._waiting: deque[_Row] = deque()
        self._started: deque[tuple[list[_Row], Finish]] = deque()
        self._turn = threading.Lock()

    def submit(self, items: Sequence[T], batch_size: int, start: Start[T]) -> Finish:
        """Add rows; what is returned waits for their results, and raises what their batch raised.

        Args:
            items: what `start` takes, one for each row.
            batch_size: most rows of a batch.
            start: starts the computation of so many rows; it must do the same in all calls. It is not kept,
                so that its owner is freed when nobody else holds it.
        """
        request = _Request(len(items))
        self._waiting.extend(_Row(request, number, item) for number, item in enumerate(items))
        if self._turn.acquire(blocking=False):
            try:
                self._start_full_batches(batch_size, start)
            finally:
                self._turn.release()
        return partial(self._finish, request, batch_size, start)

    def _finish(self, request: _Request, batch_size: int, start: Start[T]) -> np.ndarray:
        while not request.is_done:
            with self._turn:
                if not request.is_done:
                    self._advance(batch_size, start)
        return request.result()

    def _advance(self, batch_size: int, start: Start[T]) -> None:
        """Start what the device has room for, and deliver the oldest batch."""
        if self._waiting and not self._started:
            self._start_batch(batch_size, start)
        self._start_full_batches(batch_size, start)
        if not self._started:
            return
        rows, finish = self._started.popleft()
        try:
            results = finish()
        except Exception as error:  # noqa: BLE001 - raised by those who wait
            _fail(rows, error)
            return
        for row, result in zip(rows, results, strict=False):
            row.request.deliver(row.number, result)

    def _start_full_batches(self, batch_size: int, start: Start[T]) -> None:
        while len(self._waiting) >= batch_size and len(self._started) <= self._num_ahead:
            self._start_batch(batch_size, start)

    def _start_batch(self, batch_size: int, start: Start[T]) -> None:
        rows = [self._waiting.popleft() for _ in range(min(batch_size, len(self._waiting)))]
        try:
            self._started.append((rows, start([row.item for row in rows], batch_size)))
        except Exception as error:  # noqa: BLE001 - raised by those who wait
            _fail(rows, error)


def _fail(rows: Sequence[_Row], error: Exception) -> None:
    for row in rows:
        row.request.fail(error)
