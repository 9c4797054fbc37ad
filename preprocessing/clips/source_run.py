"""The life of one source, from raw video to prepared clips: this room's table of contents, read it first.

`process_source` runs in a child process (`python -m preprocessing.clips.source_run`), so that a video that
crashes the decoder costs only its own source. Sightings stay in data/tracks and cut clips in data/clips, so
changing thresholds needs no decoding, changing the crop needs no detection, and an interrupted run resumes.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ConfigDict

from preprocessing.clips.candidates import Candidate, find_candidates
from preprocessing.clips.crop import finds_faces, known_box
from preprocessing.clips.cutting import CutRecord, cut_clips, frames_file
from preprocessing.clips.fingerprints import clip_fingerprint, result_fingerprint, sightings_fingerprint
from preprocessing.clips.members.faces import FACES, clip_faces, frame_yaws
from preprocessing.clips.members.sound import SOUND, cut_sound
from preprocessing.clips.recordings.signature import clip_signature
from preprocessing.clips.records import clip_metadata, clip_row, source_row, span_s
from preprocessing.clips.sample import ClipSound, PreparedClip, member_file
from preprocessing.clips.stored_result import SourceResult, read_result, write_result
from preprocessing.faces.networks import load_networks, network_hashes, person_limits
from preprocessing.faces.people import Person, number_people
from preprocessing.faces.search import Recognizer, find_sightings, make_still
from preprocessing.faces.sightings import Sightings, faces_inside, read_sightings, write_sightings
from preprocessing.faces.sparse_detection import Detector, FixedBox
from preprocessing.faces.tracks import Tracker, find_tracks
from preprocessing.media.boxes import Box, scale_box
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.dynamic_range import is_hdr
from preprocessing.media.frame_codec import frame_codec
from preprocessing.media.parts.kept_frames import KeptFrames
from preprocessing.media.parts.listed_part import part_frames
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.sound.excerpt import SoundReader
from preprocessing.outcome import Failed, Filtered
from preprocessing.sandbox.child_server import answer_requests
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source
from preprocessing.storage.files import file_sha256, is_disk_error, write_atomically

logger = logging.getLogger(__name__)

FOLLOW_IOU = 0.3
FOLLOW_NUM_FRAMES = 25
"""How faces are followed to select those worth embedding; not settings, so that `track` settings can change
without detecting again."""

HDR = "hdr"
"""Reason of a source that `shards.hdr` refuses."""

Frames = Callable[[], Iterator[NumberedFrame]]
"""Opens the frames of a source."""


class SourceTask(BaseModel):
    """One source to process, and where its results are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Source
    video: Path
    """The raw file."""
    video_sha256: str
    root: Path
    """Folder that paths in `settings` are relative to."""
    settings: ShardsSettings
    tracks: Path
    """Folder of all sources' sightings."""
    clips: Path
    """Folder of all sources' clips."""
    store_url: str | None = None
    """Object store that holds copies of the video, sightings and clips; None if there is no store."""

    @property
    def folder(self) -> Path:
        """Return this source's folder of clips."""
        return self.clips / self.source.row_key

    @property
    def sightings_file(self) -> Path:
        """Return the file of this source's sightings."""
        return self.tracks / f"{self.source.row_key}.npz"

    @property
    def network_hashes(self) -> list[str]:
        """Return the hashes of the face networks, and how near the faces of one person are.

        Empty if the crop rule detects no faces.
        """
        settings = self.settings
        if not finds_faces(settings.crop):
            return []
        hashes = network_hashes(self.root, settings.detect, settings.identity)
        limits = person_limits(self.root, settings.detect, settings.identity)
        return [*hashes, f"{limits.person_distance:g} {limits.face_distance:g}"]

    @property
    def fingerprint(self) -> str:
        """Return the hash of everything the result depends on."""
        return result_fingerprint(self.source, self.video_sha256, self.settings, self.network_hashes)


class VideoNeededError(Exception):
    """What is stored is not enough to finish a source; its video must be decoded."""


def run_source(task: SourceTask, frames: Frames, open_sound: Callable[[], SoundReader]) -> SourceResult:
    """Take one source through its whole life, reusing what is stored: five steps, each values in, values out.

    Args:
        task: the source.
        frames: opens its frames; called only where stored sightings or clips are missing.
        open_sound: opens its sound; called only where that of a clip is missing.
    """
    source, settings = task.source, task.settings
    limits = person_limits(task.root, settings.detect, settings.identity)
    sightings = _stored_or_new_sightings(task, frames, limits.face_distance)
    tracks = find_tracks(_listed_faces(task, sightings), settings.track, limits.face_distance)
    persons, people = number_people(tracks, limits.person_distance)
    by_time = source.split == "by_time"
    candidates = find_candidates(source.row_key, tracks, persons, sightings, settings, by_time)
    kept = [candidate for candidate in candidates if candidate.is_kept]
    fingerprints = {one.key: clip_fingerprint(one, task.video_sha256, settings) for one in kept}
    codec = frame_codec(settings)
    records = cut_clips(kept, fingerprints, frames, task.folder, settings.crop.size_px, codec)
    sounds: dict[str, ClipSound | None] = {}
    if settings.sound:
        spans = {one.key: span_s(sightings, one.tube) for one in kept}
        sounds = cut_sound(spans, task.video_sha256, open_sound, task.folder)
    prepared = [_prepare(task, sightings, one, records[one.key], sounds.get(one.key)) for one in kept]
    result = _describe(task, sightings, candidates, people, prepared)
    write_result(task.folder, result, _rejected_thumbnails(source.row_key, sightings, candidates))
    return result


def process_source(task: SourceTask) -> SourceResult:
    """Turn one source into clips in `task.folder` and rows for the ledger; failures become a row."""
    source, settings = task.source, task.settings
    frames = KeptFrames(
        partial(part_frames, task.video, settings.fps, settings.max_gap_s, source.start_s, source.end_s)
    )
    try:
        if settings.hdr == "refuse" and is_hdr(task.video):
            return refuse_hdr(task, frames)
        return run_source(task, frames, lambda: SoundReader(task.video))
    except UnreadableVideoError as error:
        return fail_source(task, Failed(str(error), retryable=False))
    except Exception as error:
        if is_disk_error(error):
            return fail_source(task, Failed(str(error), retryable=True), stops=True)
        # The boundary of one source and the only such place: one bad video must not end the run.
        logger.warning("%s failed", source.url, exc_info=True)
        # A rerun gets the same values again, but not the same memory or disk.
        is_retryable = not isinstance(error, ValueError)
        return fail_source(task, Failed(f"{type(error).__name__}: {error}", retryable=is_retryable))


def process_stored(task: SourceTask) -> SourceResult | None:
    """Return the result if it follows from stored data without decoding the video, else None."""
    finished = read_finished(task)
    if finished is not None:
        return finished
    if task.settings.hdr == "refuse":
        # Sightings do not tell whether the video is HDR.
        return None

    def refuse() -> NoReturn:
        raise VideoNeededError

    try:
        return run_source(task, refuse, refuse)
    except VideoNeededError:
        return None


def read_finished(task: SourceTask) -> SourceResult | None:
    """Return the stored result of an earlier run with the same inputs and settings, or None."""
    result = read_result(task.folder, task.fingerprint)
    if result is None or result.rows[0].reason == HDR:
        return result
    # Sightings are an output too: if their file was removed, it is made again.
    return result if task.sightings_file.is_file() else None


def refuse_hdr(task: SourceTask, frames: Frames) -> SourceResult:
    """Store and return the result of a source that is filtered because it is HDR, with a picture of it."""
    result = SourceResult(
        row_key=task.source.row_key,
        fingerprint=task.fingerprint,
        rows=[source_row(task.source, Filtered(HDR))],
        prepared=[],
        people=[],
    )
    stills = [make_still(frame.image) for frame in islice(frames(), 1)]
    write_result(task.folder, result, {task.source.row_key: stills})
    return result


def fail_source(task: SourceTask, failure: Failed, stops: bool = False) -> SourceResult:
    """Remove the clips of a source that could not be processed, and return its result."""
    shutil.rmtree(task.folder, ignore_errors=True)
    return SourceResult(
        row_key=task.source.row_key,
        fingerprint=task.fingerprint,
        rows=[source_row(task.source, failure)],
        prepared=[],
        people=[],
        stops=stops,
    )


def _stored_or_new_sightings(task: SourceTask, frames: Frames, max_distance: float) -> Sightings:
    settings = task.settings
    fingerprint = sightings_fingerprint(task.source, task.video_sha256, settings, task.network_hashes)
    stored = read_sightings(task.sightings_file, fingerprint)
    if stored is not None:
        return stored
    numbered = frames()
    detector, recognizer = _detector(task)
    tracker = Tracker(FOLLOW_IOU, FOLLOW_NUM_FRAMES, max_distance)
    sightings = find_sightings(numbered, detector, recognizer, settings.detect, tracker)
    write_sightings(task.sightings_file, fingerprint, sightings)
    return sightings


def _detector(task: SourceTask) -> tuple[Detector, Recognizer | None]:
    settings, source = task.settings, task.source
    if finds_faces(settings.crop):
        return load_networks(task.root, settings.detect, settings.identity)
    return FixedBox(lambda size: known_box(settings.crop, source.bbox, source.bbox_size, size)), None


def _listed_faces(task: SourceTask, sightings: Sightings) -> Sightings:
    """Drop the faces whose centre lies outside the source's listed box, if it has one."""
    source = task.source
    if source.bbox is None or source.bbox_size is None or not finds_faces(task.settings.crop):
        return sightings
    return faces_inside(sightings, scale_box(Box(*source.bbox), source.bbox_size, sightings.frame_size))


def _prepare(
    task: SourceTask,
    sightings: Sightings,
    candidate: Candidate,
    record: CutRecord,
    sound: ClipSound | None,
) -> PreparedClip:
    """Return a kept candidate as a clip, after writing the face in each of its frames."""
    crop = task.settings.crop
    assert candidate.crop is not None
    faces = clip_faces(candidate.tube, candidate.crop, crop.size_px)
    file = frames_file(task.folder, candidate.key, record.codec)
    members = {}
    if faces is not None:
        with write_atomically(member_file(file, FACES)) as temporary:
            temporary.write_bytes(faces.to_json())
        members[FACES] = file_sha256(member_file(file, FACES))
    if sound is not None:
        members[SOUND] = file_sha256(member_file(file, SOUND))
    return PreparedClip(
        clip=clip_metadata(task.source, candidate, sightings, crop, sound),
        file=file,
        frame_bytes=record.frame_bytes,
        frames_sha256=record.sha256,
        yaw_deg=frame_yaws(candidate.tube),
        signature=clip_signature(candidate.tube, sightings).to_text(),
        members=members,
    )


def _describe(
    task: SourceTask,
    sightings: Sightings,
    candidates: Sequence[Candidate],
    people: list[Person],
    prepared: list[PreparedClip],
) -> SourceResult:
    source = task.source
    return SourceResult(
        row_key=source.row_key,
        fingerprint=task.fingerprint,
        rows=[clip_row(source, candidate, sightings) for candidate in candidates]
        or [source_row(source, Filtered("no_face"))],
        prepared=prepared,
        people=people,
    )


def _rejected_thumbnails(
    row_key: str, sightings: Sightings, candidates: Sequence[Candidate]
) -> dict[str, list[bytes]]:
    if not candidates:
        return {row_key: [sightings.still]}
    return {one.key: one.thumbnails for one in candidates if not one.is_kept}


def _answer(text: str) -> str:
    return process_source(SourceTask.model_validate_json(text)).model_dump_json()


if __name__ == "__main__":
    answer_requests(_answer)
