"""What machines hand each other through the store: a video, and what was seen in it and cut out of it."""

from pathlib import Path

from preprocessing.clips.source_run import SourceTask, read_finished, sightings_file
from preprocessing.download.raw_folder import bundle_of
from preprocessing.storage.object_store import Store

_SIGHTINGS = "detections.npz"


def clips_bundle(row_key: str) -> str:
    """Return the name under which a store keeps the sightings and clips of a source."""
    return f"clips/{row_key}"


def bring_clips(task: SourceTask, store: Store) -> None:
    """Bring what the store has of a source's sightings and clips, unless all of it is here.

    Raises:
        StoreError: the store cannot be read.
    """

    def place(name: str) -> Path:
        return sightings_file(task) if name == _SIGHTINGS else task.folder / name

    if read_finished(task) is None:
        store.get(clips_bundle(task.source.row_key), place)


def bring_video(task: SourceTask, store: Store) -> None:
    """Bring a source's video, unless it is here.

    Raises:
        StoreError: the store cannot be read.
    """
    if not task.video.is_file():
        store.get(bundle_of(task.source.key), lambda name: task.video.with_name(name))


def keep_clips(task: SourceTask, store: Store) -> None:
    """Keep a finished source's sightings and clips in the store.

    Raises:
        StoreError: the store cannot be written.
    """
    if read_finished(task) is not None:
        files = {path.name: path for path in task.folder.iterdir() if not path.name.startswith(".")}
        store.put(clips_bundle(task.source.row_key), files | {_SIGHTINGS: sightings_file(task)})
