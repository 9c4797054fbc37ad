"""What machines hand each other through the store: a video, and what was seen in it and cut out of it."""

from pathlib import Path

from preprocessing.clips.source_run import Job, detections_file, read_finished
from preprocessing.download.raw_folder import bundle_of
from preprocessing.storage.object_store import Store

_DETECTIONS = "detections.npz"


def clips_bundle(row_key: str) -> str:
    """Return the name under which a store keeps the sightings and clips of a source."""
    return f"clips/{row_key}"


def bring_clips(job: Job, store: Store) -> None:
    """Bring what the store has of a source's sightings and clips, unless all of it is here.

    Raises:
        StoreFailed: the store cannot be read.
    """

    def place(name: str) -> Path:
        return detections_file(job) if name == _DETECTIONS else job.folder / name

    if read_finished(job) is None:
        store.get(clips_bundle(job.source.row_key), place)


def bring_video(job: Job, store: Store) -> None:
    """Bring a source's video, unless it is here.

    Raises:
        StoreFailed: the store cannot be read.
    """
    if not job.video.is_file():
        store.get(bundle_of(job.source.key), lambda name: job.video.with_name(name))


def keep_clips(job: Job, store: Store) -> None:
    """Keep a finished source's sightings and clips in the store.

    Raises:
        StoreFailed: the store cannot be written.
    """
    if read_finished(job) is not None:
        files = {path.name: path for path in job.folder.iterdir() if not path.name.startswith(".")}
        store.put(clips_bundle(job.source.row_key), files | {_DETECTIONS: detections_file(job)})
