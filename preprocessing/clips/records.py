"""Records of candidates: their ledger rows, and the metadata of kept clips. Pure."""

from preprocessing.clips.candidates import Candidate
from preprocessing.clips.duplicates import clip_hash
from preprocessing.clips.sample import ClipMetadata
from preprocessing.ledger import ClipRow
from preprocessing.media.boxes import union
from preprocessing.outcome import Failed, Filtered, Outcome
from preprocessing.settings import ShardsSettings
from preprocessing.sources.source import Source


def clip_row(source: Source, candidate: Candidate, fps: int) -> ClipRow:
    """Return a candidate's row; `assign` adds split and identity once all sources are known."""
    tube = candidate.tube
    around = union(tube.boxes)
    facts = {
        "split": candidate.split,
        "track": candidate.track,
        "person": candidate.person,
        "num_frames": tube.num_frames,
        "start_s": tube.first_frame / fps,
        "end_s": tube.end_frame / fps,
        "face_px": max(around.width, around.height),
        "perceptual_hash": clip_hash(tube),
    }
    row = _row(source, candidate.key, candidate.outcome)
    return row.model_copy(update=facts | candidate.scores.model_dump())


def source_row(source: Source, outcome: Outcome) -> ClipRow:
    """Return the row of a source without candidates."""
    return _row(source, source.row_key, outcome)


def clip_metadata(
    source: Source, candidate: Candidate, frame_size: tuple[int, int], settings: ShardsSettings
) -> ClipMetadata:
    """Return a kept clip's metadata, with the listed identity and split `train` until others are assigned.

    Args:
        source: the clip's source.
        candidate: has a crop.
        frame_size: (width, height) of the source in pixels.
        settings: frame rate and crop.
    """
    assert candidate.crop is not None
    assert candidate.scores.mean_score is not None
    left, top, right, bottom = (int(side) for side in candidate.crop)
    return ClipMetadata(
        key=candidate.key,
        source_key=source.key,
        url=source.url,
        licence=source.licence,
        identity=source.identity,
        split=candidate.split or "train",
        by_time=source.split == "by_time",
        follows=candidate.follows,
        start_s=candidate.tube.first_frame / settings.fps,
        end_s=candidate.tube.end_frame / settings.fps,
        num_frames=candidate.tube.num_frames,
        fps=settings.fps,
        size_px=settings.crop.size_px,
        crop_rule=settings.crop.rule,
        crop_box=(left, top, right, bottom),
        frame_size_px=frame_size,
        mean_score=candidate.scores.mean_score,
    )


def _row(source: Source, key: str, outcome: Outcome) -> ClipRow:
    return ClipRow(
        key=key,
        row_key=source.row_key,
        source_key=source.key,
        url=source.url,
        identity=source.identity,
        outcome=type(outcome).__name__.lower(),
        reason=outcome.reason if isinstance(outcome, Filtered) else None,
        error=outcome.error if isinstance(outcome, Failed) else None,
        retryable=outcome.retryable if isinstance(outcome, Failed) else None,
    )
