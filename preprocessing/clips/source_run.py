"""One source's life from raw video to prepared clips: the room's table of contents, to be read first.

`process_source` runs in a child process (`python -m preprocessing.clips.source_run`), so that a video that
crashes the decoder costs one source. Its results stay: sightings in data/tracks, cut clips in data/clips. So
other thresholds need no decoding, other crops no detecting, and a killed run resumes.
"""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from preprocessing.clips.crop import RULES_BY_FACE, crop_box, known_box
from preprocessing.clips.duplicates import clip_hash
from preprocessing.clips.quality import Scores, judge, score
from preprocessing.clips.sample import ClipMetadata, PreparedClip, split_frames
from preprocessing.clips.thumbnails import read_pictures, write_pictures
from preprocessing.faces.analysis import Detector, FixedBox, Recognizer, analyse
from preprocessing.faces.detector import RECOGNITION_DISTANCE, FaceDetector, models_sha256, require_models
from preprocessing.faces.embedder import EMBEDDING_FILE, SAME_PERSON_DISTANCE, FaceReader
from preprocessing.faces.people import Person, number_people
from preprocessing.faces.sightings import Sightings, read_sightings, write_sightings
from preprocessing.faces.tracks import Track, Tracker, Tube, associate, divide, part_of
from preprocessing.ledger import ClipRow
from preprocessing.media.boxes import Box, scale_box, union
from preprocessing.media.images import cut, encode_jpeg
from preprocessing.media.video_reader import Frame, UnreadableVideoError, decode
from preprocessing.outcome import Failed, Filtered, Kept, Outcome
from preprocessing.sandbox.child_server import answer_requests
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source
from preprocessing.storage.files import file_sha256

logger = logging.getLogger(__name__)

RECIPE_VERSION = 3
"""Raise it when this code gives other clips for the same settings: finished work is then not reused."""
TRAIN_SHARE = 0.75
"""Where a source with split `by_time` is divided."""
RESULT_NAME = "result.json"
"""In a source's folder of clips: what became of it."""
PICTURES_NAME = "pictures.zip"
"""In a source's folder of clips: what was left out looked so."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FOLLOW_IOU = 0.3
FOLLOW_NUM_FRAMES = 25
"""How faces are followed while choosing whom to embed; apart from the settings, so that these may change."""


class SourceTask(BaseModel):
    """One source to process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Source
    """The row of the list."""
    video: Path
    """The raw file."""
    video_sha256: str
    """Its hash."""
    root: Path
    """Folder that the settings' paths are relative to."""
    settings: ShardsSettings
    """All rules."""
    tracks: Path
    """Folder in which sightings are kept."""
    clips: Path
    """Folder in which cut clips are kept."""
    store_url: str | None = None
    """Where all three are kept too; None keeps them here alone."""

    @property
    def folder(self) -> Path:
        """Return where this task's clips lie."""
        return self.clips / self.source.row_key

    @property
    def models(self) -> Path:
        """Return the folder of the face detector."""
        return self.root / self.settings.detect.models

    @property
    def finds_faces(self) -> bool:
        """Return whether the crop follows faces."""
        return self.settings.crop.rule in RULES_BY_FACE


class CutRecord(BaseModel):
    """What lies in a clip's file of frames."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fingerprint: str
    """Hash of everything the frames depend on."""
    frame_bytes: list[int]
    """Length of each."""


class Result(BaseModel):
    """What came of one source; splits and people across sources are decided when all are known."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    row_key: str
    """Which one."""
    fingerprint: str
    """Hash of everything the result depends on."""
    rows: list[ClipRow]
    """An outcome for every candidate, or one for the source."""
    prepared: list[PreparedClip]
    """The kept clips."""
    people: list[Person]
    """Who was seen, numbered as in the rows; nobody where faces are not told apart."""
    stops: bool = False
    """Whether it failed in a way that every other source would too: the disk is full."""


@dataclass(frozen=True)
class _Candidate:
    """A tube, or the part of one on one side of the boundary between train and test."""

    tube: Tube
    key: str
    track: int
    person: int | None
    split: str | None
    """Where a source that is divided by time puts it; None where that is decided later."""
    follows: str | None
    box: Box | Filtered
    scores: Scores
    outcome: Outcome
    pictures: list[bytes]
    """Small JPEG files of its face."""


def process_source(task: SourceTask) -> Result:
    """Turn one source into clips in `task.folder` and rows for the ledger; a bad source is a row."""
    try:
        sightings = _stored_sightings(task) or _detect(task)
        candidates, people = _candidates(task, sightings)
        _cut(task, [candidate for candidate in candidates if not is_cut(task, candidate)])
        return _finish(task, sightings, candidates, people)
    except UnreadableVideoError as error:
        return failed(task, Failed(str(error), retryable=False))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return failed(task, Failed(str(error), retryable=True), stops=True)
        # The clip's boundary, the one place where anything is caught: one bad video must not end the run.
        logger.warning("%s failed", task.source.url, exc_info=True)
        # A rerun meets the same values again, but not the same memory or disk.
        is_retryable = not isinstance(error, ValueError)
        return failed(task, Failed(f"{type(error).__name__}: {error}", retryable=is_retryable))


def process_stored(task: SourceTask) -> Result | None:
    """Return the result where what is stored is enough, so without a worker; None where pixels are needed."""
    finished = read_finished(task)
    if finished is not None:
        return finished
    sightings = _stored_sightings(task)
    if sightings is None:
        return None
    candidates, people = _candidates(task, sightings)
    if not all(is_cut(task, candidate) for candidate in candidates):
        return None
    return _finish(task, sightings, candidates, people)


def read_finished(task: SourceTask) -> Result | None:
    """Return the result of a run that all of this was the same for, or None."""
    finished = task.folder / RESULT_NAME
    # What was seen is an output too: where somebody removed it, it is made again.
    if not finished.is_file() or not sightings_file(task).is_file():
        return None
    result = Result.model_validate_json(finished.read_text())
    return _in_folder(result, task.folder) if result.fingerprint == fingerprint(task) else None


def pictures_of(row: ClipRow, clips: Path) -> list[bytes]:
    """Return JPEG files of a candidate for people: a cut clip's frames, else its face here and there.

    Args:
        row: what became of it.
        clips: the folder of all cut clips.
    """
    folder = clips / row.row_key
    record = folder / f"{row.key}.json"
    if not record.is_file():
        return read_pictures(folder / PICTURES_NAME, row.key)
    sizes = CutRecord.model_validate_json(record.read_text()).frame_bytes
    return split_frames(folder / f"{row.key}.jpgs", sizes)


def failed(task: SourceTask, failure: Failed, stops: bool = False) -> Result:
    """Return the result of a source that could not be processed, and remove its clips."""
    shutil.rmtree(task.folder, ignore_errors=True)
    rows = [_source_row(task, failure)]
    return Result(
        row_key=task.source.row_key,
        fingerprint=fingerprint(task),
        rows=rows,
        prepared=[],
        people=[],
        stops=stops,
    )


def fingerprint(task: SourceTask) -> str:
    """Return the hash of everything a source's result depends on."""
    rules = task.settings.model_dump_json(
        exclude={
            "num_parallel": True,
            "timeout_s": True,
            "shard_bytes": True,
            "test_fraction": True,
            "seed": True,
            "detect": {"models"},
            "identity": {"models", "across_sources"},
            "quality": {"max_duplicate_distance"},
        }
    )
    row = task.model_dump_json(include={"source"}, exclude={"source": {"source_id", "note", "extra"}})
    return _hash(RECIPE_VERSION, row, task.video_sha256, rules, _networks(task))


def max_distance(settings: ShardsSettings, root: Path) -> float:
    """Return the greatest distance of two embeddings of one person, for the network that makes them."""
    if settings.identity.max_distance is not None:
        return settings.identity.max_distance
    has_recognition = len(list((root / settings.detect.models).glob("*.onnx"))) > 1
    return RECOGNITION_DISTANCE if has_recognition else SAME_PERSON_DISTANCE


def require_eyes(settings: ShardsSettings, root: Path) -> None:
    """Check that the networks that the settings need are there.

    Raises:
        ValueError: one is not; the message says how to get it.
    """
    if settings.crop.rule not in RULES_BY_FACE:
        return
    require_models(root / settings.detect.models)
    dlib = settings.identity.models
    if dlib is not None and not (root / dlib / EMBEDDING_FILE).is_file():
        raise ValueError(
            f"got no {EMBEDDING_FILE} in shards.identity.models {dlib}; it tells faces apart; "
            "run `lia fetch models`, or set shards.identity.models to null"
        )


def part_frames(task: SourceTask) -> Iterator[tuple[int, Frame]]:
    """Yield the source's frames at the clips' rate within start_s and end_s, with their numbers."""
    start_s, end_s = task.source.start_s or 0.0, task.source.end_s
    for number, frame in enumerate(decode(task.video, task.settings.fps)):
        if end_s is not None and frame.pts_s >= end_s:
            return
        if frame.pts_s >= start_s:
            yield number, frame


def is_cut(task: SourceTask, candidate: _Candidate) -> bool:
    """Return whether the candidate needs no cutting any more, or never did."""
    return candidate.outcome != Kept() or _sizes(task, candidate) is not None


def _sightings_fingerprint(task: SourceTask) -> str:
    settings = task.settings
    rules = settings.detect.model_dump_json(exclude={"models"})
    if not task.finds_faces:
        every = settings.detect.every_num_frames
        rules = f"{settings.crop.rule} {every} {task.source.bbox} {task.source.bbox_size}"
    return _hash(RECIPE_VERSION, task.video_sha256, settings.fps, rules, _networks(task))


def sightings_file(task: SourceTask) -> Path:
    """Return where the source's sightings lie."""
    return task.tracks / f"{task.source.row_key}.npz"


def _networks(task: SourceTask) -> list[str]:
    if not task.finds_faces:
        return []
    dlib = task.settings.identity.models
    return [
        models_sha256(task.models),
        *([] if dlib is None else [_network_sha256(task.root / dlib / EMBEDDING_FILE)]),
    ]


def _stored_sightings(task: SourceTask) -> Sightings | None:
    return read_sightings(sightings_file(task), _sightings_fingerprint(task))


def _detect(task: SourceTask) -> Sightings:
    tracker = Tracker(FOLLOW_IOU, FOLLOW_NUM_FRAMES, max_distance(task.settings, task.root))
    detector, recognizer = _eyes(task)
    sightings = analyse(part_frames(task), detector, recognizer, task.settings.detect, tracker)
    write_sightings(sightings_file(task), _sightings_fingerprint(task), sightings)
    return sightings


def _eyes(task: SourceTask) -> tuple[Detector, Recognizer | None]:
    """Return what finds faces and what tells them apart."""
    source, settings = task.source, task.settings
    if not task.finds_faces:
        return FixedBox(lambda size: known_box(settings.crop, source.bbox, source.bbox_size, size)), None
    detector = _face_detector(task.models, settings.detect.min_score, settings.detect.pad_px)
    if settings.identity.models is None:
        return detector, None
    if detector.can_recognize:
        return detector, detector.embed
    reader = _face_reader(task.root / settings.identity.models)
    return detector, lambda image, face: reader.read(image, face.box).embedding.astype("float32")


# A worker does many sources one after the other; loading the networks takes as long as some clips do.
_network_sha256 = lru_cache(maxsize=8)(file_sha256)


@lru_cache(maxsize=1)
def _face_detector(models: Path, min_score: float, pad_px: int) -> FaceDetector:
    return FaceDetector(models, min_score, pad_px)


@lru_cache(maxsize=1)
def _face_reader(models: Path) -> FaceReader:
    return FaceReader(models)


def _candidates(task: SourceTask, sightings: Sightings) -> tuple[list[_Candidate], list[Person]]:
    """Return every tube with its box, scores and outcome; parts of a by_time tube share their box."""
    settings, source = task.settings, task.source
    boundary = sightings.first_frame + round(TRAIN_SHARE * sightings.num_frames)
    tracks = associate(_only_wanted(task, sightings), settings.track, max_distance(task.settings, task.root))
    numbers, people = number_people(tracks, max_distance(task.settings, task.root))
    candidates = []
    for number, track in enumerate(tracks):
        for tube in divide(track, settings.track):
            box = crop_box(tube.boxes, settings.crop, sightings.frame_size)
            follows = None
            is_divided = source.split == "by_time"
            for part in _divide_at(track, tube, boundary) if is_divided else [tube]:
                scores = score(part, box if isinstance(box, Box) else union(part.boxes), sightings)
                outcome = (
                    box if isinstance(box, Filtered) else judge(len(part.boxes), scores, settings.quality)
                )
                candidate = _Candidate(
                    tube=part,
                    key=f"{source.row_key}-{number:03d}-{part.first_frame:06d}",
                    track=number,
                    person=numbers[number],
                    split=("train" if part.first_frame < boundary else "test") if is_divided else None,
                    follows=follows,
                    box=box,
                    scores=scores,
                    outcome=outcome,
                    pictures=[face.picture for face in part.faces if face.picture is not None],
                )
                candidates.append(candidate)
                follows = candidate.key if outcome == Kept() else None
    return candidates, people


def _divide_at(track: Track, tube: Tube, boundary: int) -> list[Tube]:
    length = boundary - tube.first_frame
    if not 0 < length < len(tube.boxes):
        return [tube]
    return [
        part_of(track, tube.first_frame, tube.boxes[:length]),
        part_of(track, boundary, tube.boxes[length:]),
    ]


def _only_wanted(task: SourceTask, sightings: Sightings) -> Sightings:
    """Leave out faces whose middle is outside the source's bbox, where it has one."""
    source = task.source
    if source.bbox is None or source.bbox_size is None or not task.finds_faces:
        return sightings
    wanted = scale_box(Box(*source.bbox), source.bbox_size, sightings.frame_size)
    faces = [[face for face in found if wanted.contains(*face.box.centre)] for found in sightings.faces]
    return replace(sightings, faces=faces)


def _cut(task: SourceTask, candidates: list[_Candidate]) -> None:
    """Decode the video and append each candidate's squares to its file; one frame is in memory at a time."""
    if not candidates:
        return
    settings = task.settings
    task.folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, list[int]] = {candidate.key: [] for candidate in candidates}
    # Another process may be at the same clip for a moment, when a run was killed and started again.
    partials = {key: task.folder / f".{key}.{os.getpid()}.partial" for key in sizes}
    with ExitStack() as stack:
        files = {key: stack.enter_context(path.open("wb")) for key, path in partials.items()}
        end = max(candidate.tube.first_frame + len(candidate.tube.boxes) for candidate in candidates)
        for number, frame in part_frames(task):
            if number >= end:
                break
            for candidate in candidates:
                if 0 <= number - candidate.tube.first_frame < len(candidate.tube.boxes):
                    assert isinstance(candidate.box, Box)
                    square = cut(frame.image, candidate.box, settings.crop.size_px)
                    data = encode_jpeg(square, settings.jpeg_quality)
                    files[candidate.key].write(data)
                    sizes[candidate.key].append(len(data))
    for candidate in candidates:
        partials[candidate.key].replace(_frames_file(task, candidate))
        record = CutRecord(fingerprint=_cut_fingerprint(task, candidate), frame_bytes=sizes[candidate.key])
        _write_text(task.folder / f"{candidate.key}.json", record.model_dump_json())


def _frames_file(task: SourceTask, candidate: _Candidate) -> Path:
    return task.folder / f"{candidate.key}.jpgs"


def _sizes(task: SourceTask, candidate: _Candidate) -> list[int] | None:
    """Return the lengths of a clip's stored frames, None where they are not stored or were cut otherwise."""
    path = task.folder / f"{candidate.key}.json"
    if not path.is_file():
        return None
    record = CutRecord.model_validate_json(path.read_text())
    file = _frames_file(task, candidate)
    is_whole = file.is_file() and file.stat().st_size == sum(record.frame_bytes)
    return (
        record.frame_bytes if is_whole and record.fingerprint == _cut_fingerprint(task, candidate) else None
    )


def _cut_fingerprint(task: SourceTask, candidate: _Candidate) -> str:
    settings = task.settings
    span = (candidate.tube.first_frame, len(candidate.tube.boxes))
    how = (settings.fps, settings.crop.size_px, settings.jpeg_quality)
    return _hash(RECIPE_VERSION, task.video_sha256, span, candidate.box, how)


def _finish(
    task: SourceTask, sightings: Sightings, candidates: list[_Candidate], people: list[Person]
) -> Result:
    """Write down the result, and remove what belongs to no kept clip."""
    kept = [candidate for candidate in candidates if candidate.outcome == Kept()]
    rows = [_clip_row(task, candidate) for candidate in candidates] or [
        _source_row(task, Filtered("no_face"))
    ]
    prepared = [
        PreparedClip(
            clip=_clip(task, sightings, candidate),
            file=_frames_file(task, candidate),
            frame_bytes=_sizes(task, candidate) or [],
        )
        for candidate in kept
    ]
    result = Result(
        row_key=task.source.row_key,
        fingerprint=fingerprint(task),
        rows=rows,
        prepared=prepared,
        people=people,
    )
    task.folder.mkdir(parents=True, exist_ok=True)
    left_out = {one.key: one.pictures for one in candidates if one.outcome != Kept()}
    if not candidates:
        left_out = {task.source.row_key: [sightings.still]}
    names = {f"{candidate.key}{ending}" for candidate in kept for ending in (".jpgs", ".json")}
    if any(left_out.values()):
        write_pictures(task.folder / PICTURES_NAME, left_out)
        names.add(PICTURES_NAME)
    for path in task.folder.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
    # Without the folder, so that a checkout may move and another machine may read it.
    _write_text(task.folder / RESULT_NAME, _in_folder(result, Path()).model_dump_json())
    return result


def _in_folder(result: Result, folder: Path) -> Result:
    prepared = [clip.model_copy(update={"file": folder / clip.file.name}) for clip in result.prepared]
    return result.model_copy(update={"prepared": prepared})


def _clip(task: SourceTask, sightings: Sightings, candidate: _Candidate) -> ClipMetadata:
    assert isinstance(candidate.box, Box)
    start, tube, settings = candidate.tube.first_frame, candidate.tube, task.settings
    left, top, right, bottom = (int(side) for side in candidate.box)
    return ClipMetadata(
        key=candidate.key,
        source_key=task.source.key,
        url=task.source.url,
        licence=task.source.licence,
        identity=task.source.identity,
        split="test" if candidate.split == "test" else "train",
        by_time=task.source.split == "by_time",
        follows=candidate.follows,
        start_s=start / settings.fps,
        end_s=(start + len(tube.boxes)) / settings.fps,
        num_frames=len(tube.boxes),
        fps=settings.fps,
        size_px=settings.crop.size_px,
        crop_rule=settings.crop.rule,
        crop_box=(left, top, right, bottom),
        frame_size_px=sightings.frame_size,
        mean_score=candidate.scores.mean_score,
    )


def _clip_row(task: SourceTask, candidate: _Candidate) -> ClipRow:
    tube, fps = candidate.tube, task.settings.fps
    around = union(tube.boxes)
    facts = {
        "split": candidate.split,
        "track": candidate.track,
        "person": candidate.person,
        "num_frames": len(tube.boxes),
        "start_s": tube.first_frame / fps,
        "end_s": (tube.first_frame + len(tube.boxes)) / fps,
        "face_px": max(around.width, around.height),
        "perceptual_hash": clip_hash(tube),
    }
    return _row(task, candidate.key, candidate.outcome).model_copy(
        update=facts | candidate.scores.model_dump()
    )


def _source_row(task: SourceTask, outcome: Outcome) -> ClipRow:
    return _row(task, task.source.row_key, outcome)


def _row(task: SourceTask, key: str, outcome: Outcome) -> ClipRow:
    return ClipRow(
        key=key,
        row_key=task.source.row_key,
        source_key=task.source.key,
        url=task.source.url,
        identity=task.source.identity,
        outcome=type(outcome).__name__.lower(),
        reason=outcome.reason if isinstance(outcome, Filtered) else None,
        error=outcome.error if isinstance(outcome, Failed) else None,
        retryable=outcome.retryable if isinstance(outcome, Failed) else None,
    )


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _answer(text: str) -> str:
    return process_source(SourceTask.model_validate_json(text)).model_dump_json()


if __name__ == "__main__":
    answer_requests(_answer)
