"""Coarse units of work: sources in groups, and the processes that do them, on this machine or inside a task.

The orchestrator sees about `num_units` units, whatever the number of sources; a unit is retried as a whole,
and what it has finished before is found again.
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TypeVar

from preprocessing.clips.exchange import bring_clips, bring_video, keep_clips
from preprocessing.clips.source_run import Result, SourceTask, failed, process_source, process_stored
from preprocessing.outcome import Failed
from preprocessing.sandbox.child_server import ChildError, ChildServer, ChildTimeoutError
from preprocessing.sources.source import Source
from preprocessing.storage.object_store import Store

Unit = list[SourceTask]
Item = TypeVar("Item")


class DiskError(RuntimeError):
    """Nothing can be written any more, so the run cannot go on; a rerun resumes."""


def group_into_units(
    items: Sequence[Item], num_units: int, source_of: Callable[[Item], Source]
) -> list[list[Item]]:
    """Return at most `num_units` groups of nearly as many videos each, parts of one video together.

    The order of the items changes nothing.
    """
    videos: dict[str, list[Item]] = {}
    for _, item in sorted(((source_of(item).row_key, item) for item in items), key=lambda pair: pair[0]):
        videos.setdefault(source_of(item).key, []).append(item)
    units: list[list[Item]] = [[] for _ in range(min(num_units, len(videos)))]
    for number, video in enumerate(videos.values()):
        units[number % len(units)] += video
    return units


def process_unit(unit: Unit, worker: ChildServer) -> Iterator[Result]:
    """Yield each source's result; one that crashes or stalls its worker is a failure of its own.

    Raises:
        DiskError: nothing can be written any more.
        StoreError: there is a store, and it cannot be read or written.
    """
    for task in unit:
        store = None if task.store_url is None else Store(task.store_url)
        if store is not None:
            bring_clips(task, store)
        result = process_stored(task)
        if result is None:
            if store is not None:
                bring_video(task, store)
            try:
                answer = worker.ask(task.model_dump_json(), task.settings.timeout_s)
                result = Result.model_validate_json(answer)
            except ChildTimeoutError as error:
                told = (
                    f"processing {error}, and no more is allowed; raise shards.timeout_s if that was at work"
                )
                result = failed(task, Failed(told, retryable=True))
            except ChildError as error:
                result = failed(task, Failed(f"processing {error}", retryable=True))
        if result.stops:
            raise DiskError(
                f"got {result.rows[0].error} while writing clips; free disk space is needed; make room and "
                "rerun, finished sources are kept"
            )
        if store is not None:
            keep_clips(task, store)
        yield result


def process_here(units: Sequence[Unit], num_parallel: int, tell: Callable[[Result], None]) -> list[Result]:
    """Process units side by side on this machine; `tell` gets each source's result as it comes.

    Raises:
        DiskError: nothing can be written any more.
        StoreError: there is a store, and it cannot be read or written.
    """
    with ExitStack() as stack:
        workers: queue.SimpleQueue[ChildServer] = queue.SimpleQueue()
        for _ in range(num_parallel):
            workers.put(stack.enter_context(ChildServer(process_source.__module__)))

        def one(unit: Unit) -> list[Result]:
            worker = workers.get()
            results = []
            try:
                for result in process_unit(unit, worker):
                    tell(result)
                    results.append(result)
            finally:
                workers.put(worker)
            return results

        pool = stack.enter_context(ThreadPoolExecutor(num_parallel))
        futures = [pool.submit(one, unit) for unit in units]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [result for future in futures for result in future.result()]
