"""Records of candidates: their ledger rows, and the metadata of kept clips. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from statistics import median

from preprocessing.clips.candidates import Candidate
from preprocessing.clips.sample import ClipMetadata, ClipSound
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Tube
from preprocessing.ledger import ClipRow
from preprocessing.media.boxes import union
from preprocessing.outcome import Failed, Filtered, Outcome
from preprocessing.settings import CropSettings
from preprocessing.sources.source import Source

NUM_DIGITS = 6
"""Digits after the point of stored times, in seconds."""


def clip_row(source: Source, candidate: Candidate, sightings: Sightings) -> ClipRow:
    """Return a candidate's row; `assign` adds split and identity once all sources are known."""
    tube = candidate.tube
    around = union(tube.boxes)
    start_s, end_s = span_s(sightings, tube)
    facts = {
        "split": candidate.split,
        "track": candidate.track,
        "person": candidate.person,
        "num_frames": tube.num_frames,
        "start_s": start_s,
        "end_s": end_s,
        "face_px": max(around.width, around.height),
    }
    row = _row(source, candidate.key, candidate.outcome)
    return replace(row, **facts, **asdict(candidate.scores))


def source_row(source: Source, outcome: Outcome) -> ClipRow:
    """Return the row of a source without candidates."""
    return _row(source, source.row_key, outcome)


def clip_metadata(
    source: Source,
    candidate: Candidate,
    sightings: Sightings,
    crop: CropSettings,
    sound: ClipSound | None = None,
) -> ClipMetadata:
    """Return a kept clip's metadata, with the listed identity and split `train` until others are assigned.

    Args:
        source: the clip's source.
        candidate: has a crop.
        sightings: those of the source.
        crop: which square is cut out.
        sound: what is known of the clip's sound; None if it has none.
    """
    assert candidate.crop is not None
    assert candidate.scores.mean_score is not None
    times_s = sightings.frame_times(candidate.tube.first_frame, candidate.tube.end_frame)
    start_s, end_s = span_s(sightings, candidate.tube)
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
        start_s=start_s,
        end_s=end_s,
        num_frames=candidate.tube.num_frames,
        fps=_usual_fps(times_s),
        times_s=[round(time - times_s[0], NUM_DIGITS) for time in times_s],
        size_px=crop.size_px,
        crop_rule=crop.rule,
        crop_box=(left, top, right, bottom),
        frame_size_px=sightings.frame_size,
        mean_score=candidate.scores.mean_score,
        sound=sound,
    )


def span_s(sightings: Sightings, tube: Tube) -> tuple[float, float]:
    """Return when a tube's first frame starts and its last one ends, in seconds of the video."""
    times_s = sightings.frame_times(tube.first_frame, tube.end_frame)
    return round(times_s[0], NUM_DIGITS), round(times_s[-1] + 1 / _usual_fps(sightings.times_s), NUM_DIGITS)


def _usual_fps(times_s: Sequence[float]) -> float:
    """Return the frame rate by the median time between frames; 25 for a single frame."""
    steps = [after - before for before, after in pairwise(times_s)]
    return round(1 / median(steps), 3) if steps else 25.0


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
