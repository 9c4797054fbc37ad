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

    An exception raised by `items` is raised again here, after the items before it. Closing the generator
    early stops the thread and waits for it to end.
    """
    ready: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), name="prefetch", daemon=True)
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
    except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
        end = _End(error)
    finally:
        # Only the thread that runs a generator may close it.
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
