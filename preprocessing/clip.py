"""One source's life from raw video to prepared clips: the room's table of contents, to be read first.

`process_source` is the table of contents. `process_isolated` runs it in a process of its own (`python -m
preprocessing.clip`), so that a video that crashes its decoder costs one source.
"""

import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PillowImage
from pydantic import BaseModel, ConfigDict

from preprocessing import isolation
from preprocessing.boxes import Box, scale_box, union
from preprocessing.crop import Image, crop_box, cut
from preprocessing.detect import Face, FaceDetector, models_sha256, require_models
from preprocessing.ledger import ClipRow, count_clips
from preprocessing.outcome import Failed, Filtered, Kept, Outcome
from preprocessing.quality import judge
from preprocessing.sample import Clip, PreparedClip
from preprocessing.scenes import CutDetector
from preprocessing.settings import ShardsSettings
from preprocessing.sources import Source, Split
from preprocessing.track import Detections, Tube, associate, divide
from preprocessing.video import Frame, UnreadableVideo, decode

logger = logging.getLogger(__name__)

RECIPE_VERSION = 1
"""Raise it when this code gives other clips for the same settings: finished work is then not reused."""
TRAIN_SHARE = 0.75
"""Where a source with split `by_time` is divided."""


class Job(BaseModel):
    """One source to process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Source
    """The row of the list."""
    split: Split
    """Its assigned split; never auto."""
    video: Path
    """The raw file."""
    video_sha256: str
    """Its hash."""
    models: Path
    """Folder of the face detector."""
    settings: ShardsSettings
    """All rules."""
    tracks: Path
    """Folder in which detections are kept, so that other thresholds and crops need no new detection."""
    work: Path
    """Folder in which prepared clips wait for the shards."""

    @property
    def folder(self) -> Path:
        """Return where this job's prepared clips lie."""
        return self.work / self.source.row_key


class Result(BaseModel):
    """What came of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fingerprint: str
    """Hash of everything the result depends on."""
    rows: list[ClipRow]
    """An outcome for every candidate, or one for the source."""
    prepared: list[PreparedClip]
    """The kept clips."""


@dataclass(frozen=True)
class _Candidate:
    """A tube, or the part of one on one side of the boundary between train and test."""

    tube: Tube
    key: str
    split: Literal["train", "test"]
    follows: str | None
    square: Box | Filtered


def process_sources(work: list[Job], num_parallel: int, say: Callable[..., None]) -> list[Result]:
    """Return the results in the jobs' order; `say` gets a format and its arguments, once a source."""
    with ThreadPoolExecutor(num_parallel) as pool:
        futures = {pool.submit(process_isolated, job): job for job in work}
        for num_done, future in enumerate(as_completed(futures), 1):
            words = ", ".join(
                f"{count} {word}" for word, count in count_clips(future.result().rows).items() if count
            )
            say("%d/%d %s: %s", num_done, len(work), futures[future].source.url, words)
        return [future.result() for future in futures]


def process_isolated(job: Job) -> Result:
    """Process the source in a process of its own, or return the finished result of an earlier run."""
    finished = job.folder / "result.json"
    fingerprint = _fingerprint(job)
    if finished.is_file():
        result = Result.model_validate_json(finished.read_text())
        if result.fingerprint == fingerprint:
            return result
    try:
        answer = isolation.run_isolated(__name__, job.model_dump_json(), timeout_s=None)
    except isolation.ChildFailed as error:
        row = _source_row(job, Failed(f"processing {error}", retryable=True))
        return Result(fingerprint=fingerprint, rows=[row], prepared=[])
    return Result.model_validate_json(answer)


def process_source(job: Job) -> Result:
    """Turn one source into prepared clips in `job.folder` and rows for the ledger; a bad source is a row."""
    require_models(job.models)
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    try:
        detections = _detections(job)
        candidates = _candidates(job, detections)
        outcomes = {candidate.key: _judge(job, candidate) for candidate in candidates}
        kept = [candidate for candidate in candidates if outcomes[candidate.key] == Kept()]
        prepared = _cut_all(job, detections, kept)
        rows = [_clip_row(job, candidate, outcomes[candidate.key]) for candidate in candidates]
        rows = rows or [_source_row(job, Filtered("no_face"))]
    except UnreadableVideo as error:
        rows, prepared = [_source_row(job, Failed(str(error), retryable=False))], []
    except Exception as error:
        # The clip's boundary, the one place where anything is caught: one bad video must not end the run.
        logger.warning("%s failed", job.source.url, exc_info=True)
        rows, prepared = [_source_row(job, Failed(f"{type(error).__name__}: {error}", retryable=True))], []
    result = Result(fingerprint=_fingerprint(job), rows=rows, prepared=prepared)
    if not any(row.retryable for row in rows):
        (job.folder / "result.json").write_text(result.model_dump_json())
    return result


def _fingerprint(job: Job) -> str:
    rules = job.settings.model_dump_json(
        exclude={"num_parallel": True, "shard_bytes": True, "detect": {"models"}}
    )
    parts = (str(RECIPE_VERSION), job.source.model_dump_json(), job.split, job.video_sha256, rules)
    return hashlib.sha256("\n".join((*parts, models_sha256(job.models))).encode()).hexdigest()


def _part_frames(job: Job) -> Iterator[tuple[int, Frame]]:
    """Yield the source's frames at the clips' rate within start_s and end_s, with their numbers."""
    start_s, end_s = job.source.start_s or 0.0, job.source.end_s
    for number, frame in enumerate(decode(job.video, job.settings.fps)):
        if end_s is not None and frame.pts_s >= end_s:
            return
        if frame.pts_s >= start_s:
            yield number, frame


def _detections(job: Job) -> Detections:
    """Return the faces of the source, from an earlier run where nothing that they depend on has changed."""
    path = job.tracks / f"{job.source.row_key}.npz"
    settings = job.settings
    parts = (RECIPE_VERSION, job.video_sha256, models_sha256(job.models), settings.fps)
    rules = settings.detect.model_dump_json(exclude={"models"})
    fingerprint = hashlib.sha256(f"{parts} {rules}".encode()).hexdigest()
    stored = _read_detections(path, fingerprint)
    if stored is not None:
        return stored
    detector = FaceDetector(job.models, settings.detect.min_score, settings.detect.pad_px)
    detections = detect_faces(_part_frames(job), detector, settings.detect.every_num_frames)
    _write_detections(path, fingerprint, detections)
    return detections


def detect_faces(
    frames: Iterator[tuple[int, Frame]], detector: FaceDetector, every_num_frames: int
) -> Detections:
    """Find the faces in every k-th frame, in the last one, and on both sides of a scene cut.

    Raises:
        UnreadableVideo: there are no frames.
    """
    analysed: dict[int, list[Face]] = {}
    cuts: list[int] = []
    scenes = CutDetector()
    first: int | None = None
    last: tuple[int, Image] | None = None
    for number, frame in frames:
        first = number if first is None else first
        if scenes.is_cut(frame.image):
            cuts.append(number)
            if last is not None and last[0] not in analysed:
                analysed[last[0]] = detector.detect(last[1])
        if (number - first) % every_num_frames == 0 or number in cuts[-1:]:
            analysed[number] = detector.detect(frame.image)
        last = number, frame.image
    if first is None or last is None:
        raise UnreadableVideo("got no frame between start_s and end_s; times inside the video are needed")
    if last[0] not in analysed:
        analysed[last[0]] = detector.detect(last[1])
    height, width = last[1].shape[:2]
    return Detections(
        first_frame=first,
        num_frames=last[0] - first + 1,
        frame_size=(width, height),
        frames=sorted(analysed),
        faces=[analysed[number] for number in sorted(analysed)],
        cuts=cuts,
    )


def _candidates(job: Job, detections: Detections) -> list[_Candidate]:
    """Return every tube with its square; a by_time tube is divided in two that share their square."""
    settings, source = job.settings, job.source
    boundary = detections.first_frame + round(TRAIN_SHARE * detections.num_frames)
    candidates = []
    for number, track in enumerate(associate(_only_wanted(detections, source), settings.track)):
        for tube in divide(track, settings.track):
            square = crop_box(tube.boxes, settings.crop, detections.frame_size)
            follows = None
            for part in _divide_at(tube, boundary) if job.split == "by_time" else [tube]:
                key = f"{source.row_key}-{number:03d}-{part.first_frame:06d}"
                if job.split == "by_time":
                    split = "train" if part.first_frame < boundary else "test"
                else:
                    split = "test" if job.split == "test" else "train"
                candidates.append(_Candidate(part, key, split, follows, square))
                is_kept = judge(len(part.boxes), part.mean_score, settings.quality) == Kept()
                follows = key if is_kept else None
    return candidates


def _divide_at(tube: Tube, boundary: int) -> list[Tube]:
    length = boundary - tube.first_frame
    if not 0 < length < len(tube.boxes):
        return [tube]
    return [
        Tube(tube.first_frame, tube.boxes[:length], tube.mean_score),
        Tube(boundary, tube.boxes[length:], tube.mean_score),
    ]


def _only_wanted(detections: Detections, source: Source) -> Detections:
    """Leave out faces whose middle is outside the source's bbox, where it has one."""
    if source.bbox is None or source.bbox_size is None:
        return detections
    wanted = scale_box(Box(*source.bbox), source.bbox_size, detections.frame_size)
    faces = [[face for face in found if wanted.contains(*face.box.centre)] for found in detections.faces]
    return Detections(**{**vars(detections), "faces": faces})


def _judge(job: Job, candidate: _Candidate) -> Outcome:
    if isinstance(candidate.square, Filtered):
        return candidate.square
    return judge(len(candidate.tube.boxes), candidate.tube.mean_score, job.settings.quality)


def _cut_all(job: Job, detections: Detections, kept: list[_Candidate]) -> list[PreparedClip]:
    """Decode once more and append each kept clip's squares to its file; one frame is in memory at a time."""
    settings = job.settings
    sizes: dict[str, list[int]] = {candidate.key: [] for candidate in kept}
    with ExitStack() as stack:
        files = {key: stack.enter_context((job.folder / f"{key}.jpgs").open("wb")) for key in sizes}
        for number, frame in _part_frames(job) if kept else ():
            for candidate in kept:
                if 0 <= number - candidate.tube.first_frame < len(candidate.tube.boxes):
                    assert isinstance(candidate.square, Box)
                    square = cut(frame.image, candidate.square, settings.crop.size_px)
                    data = _jpeg(square, settings.jpeg_quality)
                    files[candidate.key].write(data)
                    sizes[candidate.key].append(len(data))
    return [
        PreparedClip(
            clip=_clip(job, detections, candidate),
            file=job.folder / f"{candidate.key}.jpgs",
            frame_bytes=sizes[candidate.key],
        )
        for candidate in kept
    ]


def _clip(job: Job, detections: Detections, candidate: _Candidate) -> Clip:
    assert isinstance(candidate.square, Box)
    start, tube, settings = candidate.tube.first_frame, candidate.tube, job.settings
    left, top, right, bottom = (int(side) for side in candidate.square)
    return Clip(
        key=candidate.key,
        source_key=job.source.key,
        url=job.source.url,
        licence=job.source.licence,
        identity=job.source.identity,
        split=candidate.split,
        by_time=job.split == "by_time",
        follows=candidate.follows,
        start_s=start / settings.fps,
        end_s=(start + len(tube.boxes)) / settings.fps,
        num_frames=len(tube.boxes),
        fps=settings.fps,
        size_px=settings.crop.size_px,
        crop_rule=settings.crop.rule,
        crop_box=(left, top, right, bottom),
        frame_size_px=detections.frame_size,
        mean_score=tube.mean_score,
    )


def _jpeg(image: Image, quality: int) -> bytes:
    """Encode with full colour resolution: at 4:2:0 lips and eyes of a small face lose their colour."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _clip_row(job: Job, candidate: _Candidate, outcome: Outcome) -> ClipRow:
    tube, fps = candidate.tube, job.settings.fps
    around = union(tube.boxes)
    return _row(job, candidate.key, outcome).model_copy(
        update={
            "split": candidate.split,
            "num_frames": len(tube.boxes),
            "start_s": tube.first_frame / fps,
            "end_s": (tube.first_frame + len(tube.boxes)) / fps,
            "face_px": max(around.width, around.height),
            "mean_score": tube.mean_score,
        }
    )


def _source_row(job: Job, outcome: Outcome) -> ClipRow:
    return _row(job, job.source.row_key, outcome)


def _row(job: Job, key: str, outcome: Outcome) -> ClipRow:
    return ClipRow(
        key=key,
        source_key=job.source.key,
        url=job.source.url,
        identity=job.source.identity,
        outcome=type(outcome).__name__.lower(),
        reason=outcome.reason if isinstance(outcome, Filtered) else None,
        error=outcome.error if isinstance(outcome, Failed) else None,
        retryable=outcome.retryable if isinstance(outcome, Failed) else None,
    )


def _write_detections(path: Path, fingerprint: str, detections: Detections) -> None:
    rows = [
        (frame, *face.box, *face.points.ravel(), face.score)
        for frame, faces in zip(detections.frames, detections.faces, strict=True)
        for face in faces
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            fingerprint=np.array(fingerprint),
            span=np.array([detections.first_frame, detections.num_frames, *detections.frame_size]),
            frames=np.array(detections.frames),
            cuts=np.array(detections.cuts, dtype=np.int64),
            faces=np.array(rows, dtype=np.float64).reshape(-1, 16),
        )
    partial.replace(path)


def _read_detections(path: Path, fingerprint: str) -> Detections | None:
    """Return the stored detections, or None where there are none of this fingerprint."""
    if not path.is_file():
        return None
    with np.load(path) as stored:
        if str(stored["fingerprint"]) != fingerprint:
            return None
        faces: dict[int, list[Face]] = {int(frame): [] for frame in stored["frames"]}
        for row in stored["faces"]:
            faces[int(row[0])].append(Face(Box(*row[1:5].tolist()), row[5:15].reshape(5, 2), float(row[15])))
        first, count, width, height = (int(value) for value in stored["span"])
        cuts = [int(cut_frame) for cut_frame in stored["cuts"]]
    return Detections(first, count, (width, height), list(faces), list(faces.values()), cuts)


if __name__ == "__main__":
    isolation.answer(lambda text: process_source(Job.model_validate_json(text)).model_dump_json())
