"""Units on machines that share nothing but an object store: videos come from it, results go to it.

A machine keeps the files of one source at a time, in a folder that is removed afterwards. A store that is
down is waited for.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from preprocessing.clips.source_run import HDR, SourceTask, process_stored, read_finished
from preprocessing.clips.stored_result import RESULT_NAME, SourceResult, SourceSummary, read_result
from preprocessing.clips.units import Unit, process_in_child, require_disk
from preprocessing.sandbox.child_server import ChildServer
from preprocessing.storage.exchange import SIGHTINGS, clips_bundle, fetch_clips, fetch_video, upload_clips
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import patiently

_FOLDER_PREFIX = "lia-source-"


def process_unit_apart(unit: Unit, child: ChildServer) -> Iterator[SourceSummary]:
    """Yield each source's result, whose clips are in the store.

    A source that is finished there costs the fetch of its result alone.

    Raises:
        DiskError: the disk takes no more data.
        StoreError: the object store cannot be read or written.
    """
    for task in unit:
        with held_folder(_FOLDER_PREFIX) as folder:
            yield _process(moved(task, folder), Store(str(task.store_url)), child).summary()


def moved(task: SourceTask, folder: Path) -> SourceTask:
    """Return the task with its files in `folder`, except a video that this machine has."""
    video = task.video if task.video.is_file() else folder / "raw" / task.video.name
    return task.model_copy(update={"video": video, "tracks": folder / "tracks", "clips": folder / "clips"})


def fetch_finished_result(task: SourceTask, store: Store) -> SourceResult | None:
    """Return the result that the store has of a source with these inputs and settings, without its clips.

    None if there is none, or if a file that belongs to it is not in the store.
    """
    row_key = task.source.row_key
    names = patiently(partial(store.listed, clips_bundle(row_key)), "the list of clips").keys()
    place = (row_key, task.sightings_file, task.folder, {RESULT_NAME})
    if RESULT_NAME not in names or not patiently(partial(fetch_clips, store, *place), "a result"):
        return None
    result = read_result(task.folder, task.fingerprint)
    if result is None:
        return None
    files = (file for clip in result.prepared for file in (clip.file, *clip.member_files().values()))
    needed = {file.name for file in files} | ({SIGHTINGS} if result.rows[0].reason != HDR else set())
    return result if needed <= names else None


def _process(task: SourceTask, store: Store, child: ChildServer) -> SourceResult:
    finished = fetch_finished_result(task, store)
    if finished is not None:
        return finished
    place = (store, task.source.row_key, task.sightings_file, task.folder)
    patiently(partial(fetch_clips, *place), "clips")
    result = process_stored(task)
    if result is None:
        if not task.video.is_file():
            patiently(partial(fetch_video, store, task.source.key, task.video.parent), "a video")
        result = process_in_child(task, child)
    require_disk(task, result)
    if read_finished(task) is not None:
        patiently(partial(upload_clips, *place), "clips")
    return result
