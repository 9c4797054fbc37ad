"""Prefetches an iterator in a background thread, so that decoding, inference and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

_PUT_TIMEOUT_S = 0.1


class _End:
    """Marks the end of the stream; holds the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error: Final = error


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield `items`, produced by a background thread at most `depth` items ahead.

    An exception of `items` is raised here, after the items before it. Closing the stream early ends the
    thread; it has ended before the close returns.
    """
    ready: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


def _produce(items: Iterable[T], ready: queue.Queue[T | _End], stop: threading.Event) -> None:
    end = _End()
    stream = iter(items)
    try:
        for item in stream:
            if not _put(item, ready, stop):
                break
    except BaseException as error:  # noqa: BLE001 - it is raised again where the items are taken
        end = _End(error)
    finally:
        # A generator must be closed by the thread that ran it.
        if isinstance(stream, Generator):
            stream.close()
    _put(end, ready, stop)


def _put(item: T | _End, ready: queue.Queue[T | _End], stop: threading.Event) -> bool:
    """Wait for a free place in the queue; return False if the consumer has stopped."""
    while not stop.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=_PUT_TIMEOUT_S)
            return True
    return False
