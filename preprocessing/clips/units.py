"""Units of work: groups of sources, and the child processes that handle them.

The scheduler sees about `num_units` units, however many sources there are. A unit is retried as a whole;
sources that it finished before are found in its folders or in the object store.
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from preprocessing.clips.recordings.signature_file import SignatureFile
from preprocessing.clips.source_run import (
    SourceTask,
    fail_source,
    process_source,
    process_stored,
    read_finished,
)
from preprocessing.clips.stored_result import SourceResult, SourceSummary
from preprocessing.outcome import Failed
from preprocessing.sandbox.child_server import ChildError, ChildServer, ChildTimeoutError
from preprocessing.sources.source import Source
from preprocessing.storage.exchange import fetch_clips, fetch_video, upload_clips
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store

Unit = list[SourceTask]
Item = TypeVar("Item")
_FOLDER_PREFIX = "lia-video-"


class DiskError(RuntimeError):
    """The disk takes no more data, so the run cannot continue; a rerun resumes."""


def group_into_units(
    items: Sequence[Item], num_units: int, source_of: Callable[[Item], Source]
) -> list[list[Item]]:
    """Return at most `num_units` groups of nearly equal numbers of videos; a video's parts stay together.

    The result does not depend on the order of `items`.
    """
    videos: dict[str, list[Item]] = {}
    for _, item in sorted(((source_of(item).row_key, item) for item in items), key=lambda pair: pair[0]):
        videos.setdefault(source_of(item).key, []).append(item)
    units: list[list[Item]] = [[] for _ in range(min(num_units, len(videos)))]
    for number, video in enumerate(videos.values()):
        units[number % len(units)] += video
    return units


def process_unit(unit: Unit, child: ChildServer) -> Iterator[SourceSummary]:
    """Yield each source's result; a source that crashes or stalls the child process only fails itself.

    Raises:
        DiskError: the disk takes no more data.
        StoreError: the object store cannot be read or written.
    """
    for task in unit:
        store = None if task.store_url is None else Store(task.store_url)
        if store is not None:
            fetch_finished(task, store)
        result = process_stored(task)
        if result is None:
            with _video_at_hand(task, store) as fetched:
                result = process_in_child(fetched, child)
        require_disk(task, result)
        if store is not None and read_finished(task) is not None:
            upload_clips(store, task.source.row_key, task.sightings_file, task.folder)
        yield result.summary()


@contextmanager
def _video_at_hand(task: SourceTask, store: Store | None) -> Iterator[SourceTask]:
    """Yield the task with a video that the store has and this machine lacks, which is removed at the end."""
    if store is None or task.video.is_file():
        yield task
        return
    # Not into data/raw, which is the output of another stage.
    with held_folder(_FOLDER_PREFIX) as folder:
        fetch_video(store, task.source.key, folder)
        yield task.model_copy(update={"video": folder / task.video.name})


def fetch_finished(task: SourceTask, store: Store) -> None:
    """Fetch what the store holds of a source's sightings and clips, unless the source is finished here.

    Raises:
        StoreError: the store cannot be read.
    """
    if read_finished(task) is None:
        fetch_clips(store, task.source.row_key, task.sightings_file, task.folder)


def process_here(
    units: Sequence[Unit], num_parallel: int, on_result: Callable[[SourceSummary], None]
) -> list[SourceSummary]:
    """Process units in `num_parallel` child processes of this machine.

    Args:
        units: what to process.
        num_parallel: number of child processes.
        on_result: called with each source's result as it arrives, from several threads.

    Raises:
        DiskError: the disk takes no more data.
        StoreError: the object store cannot be read or written.
    """
    with ExitStack() as stack:
        children: queue.SimpleQueue[ChildServer] = queue.SimpleQueue()
        for _ in range(num_parallel):
            children.put(stack.enter_context(ChildServer(process_source.__module__)))

        def process(unit: Unit) -> list[SourceSummary]:
            child = children.get()
            results = []
            try:
                for result in process_unit(unit, child):
                    on_result(result)
                    results.append(result)
            finally:
                children.put(child)
            return results

        pool = stack.enter_context(ThreadPoolExecutor(num_parallel))
        futures = [pool.submit(process, unit) for unit in units]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        signatures = SignatureFile()
        return [result.filed(signatures) for future in futures for result in future.result()]


def require_disk(task: SourceTask, result: SourceResult) -> None:
    """Check that the disk took what a source was turned into.

    Raises:
        DiskError: it takes no more data.
    """
    if result.stops:
        raise DiskError(
            f"got {result.rows[0].error} while writing clips to {task.clips} and {task.tracks}; they "
            "must be writable; make room or permit writing, then rerun: finished sources are kept"
        )


def process_in_child(task: SourceTask, child: ChildServer) -> SourceResult:
    """Return a source's result; one that crashes or stalls the child process has failed."""
    try:
        answer = child.ask(task.model_dump_json(), task.settings.timeout_s)
        return SourceResult.model_validate_json(answer)
    except ChildTimeoutError as error:
        reason = f"processing {error}, the limit; raise shards.timeout_s if the source needs longer"
        return fail_source(task, Failed(reason, retryable=True))
    except ChildError as error:
        return fail_source(task, Failed(f"processing {error}", retryable=True))
