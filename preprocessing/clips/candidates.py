"""Candidate clips of one source: each tube with its crop, scores and outcome. Pure.

A source with split `by_time` is divided at one frame: train comes before it, test after it. Both parts of a
tube that crosses the boundary have the same crop, so that the test clip continues its train clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from preprocessing.clips.crop import crop_box
from preprocessing.clips.quality import keep_or_filter, score_clip
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Track, Tube, divide_at, divide_into_tubes
from preprocessing.ledger import ClipScores
from preprocessing.media.boxes import Box, union
from preprocessing.outcome import Filtered, Kept
from preprocessing.settings import ShardsSettings

TRAIN_SHARE = 0.75
"""Position of the boundary between train and test in a source with split `by_time`."""


@dataclass(frozen=True)
class Candidate:
    """A tube, or its part on one side of the boundary between train and test."""

    key: str
    """Source, track and first frame; names the clip everywhere."""
    tube: Tube
    track: int
    """Number of its track in the source."""
    person: int | None
    """Number of its person in the source; None if persons are not told apart."""
    split: Literal["train", "test"] | None
    """Side of the boundary; None where the split is decided once all sources are known."""
    follows: str | None
    """Key of the kept candidate that this one continues with the same crop."""
    crop: Box | None
    """In pixels of the frame, and whole pixels; None if no crop is allowed."""
    scores: ClipScores
    outcome: Kept | Filtered

    @property
    def is_kept(self) -> bool:
        """Return whether it becomes a clip."""
        return self.outcome == Kept()

    @property
    def thumbnails(self) -> list[bytes]:
        """Return small JPEG files of its face, in order."""
        return [face.thumbnail for face in self.tube.faces if face.thumbnail is not None]


def find_candidates(
    row_key: str,
    tracks: Sequence[Track],
    persons: Sequence[int | None],
    sightings: Sightings,
    settings: ShardsSettings,
    by_time: bool,
) -> list[Candidate]:
    """Return all candidates of a source with their outcomes.

    Args:
        row_key: the source's name, with which the candidates' keys begin.
        tracks: the source's tracks.
        persons: each track's person number.
        sightings: all faces, including those of other tracks that a crop may show.
        settings: how tracks are divided and cropped, and the quality thresholds.
        by_time: whether to divide the source into train and test.
    """
    boundary = _time_boundary(sightings)
    candidates = []
    for number, (track, person) in enumerate(zip(tracks, persons, strict=True)):
        for tube in divide_into_tubes(track, settings.track):
            crop = crop_box(tube.boxes, settings.crop, sightings.frame_size)
            follows = None
            for part in divide_at(track, tube, boundary) if by_time else [tube]:
                crop_or_face = union(part.boxes) if isinstance(crop, Filtered) else crop
                scores = score_clip(part, crop_or_face, sightings)
                candidate = Candidate(
                    key=f"{row_key}-{number:03d}-{part.first_frame:06d}",
                    tube=part,
                    track=number,
                    person=person,
                    split=_side(part, boundary) if by_time else None,
                    follows=follows,
                    crop=None if isinstance(crop, Filtered) else crop,
                    scores=scores,
                    outcome=crop
                    if isinstance(crop, Filtered)
                    else keep_or_filter(part.num_frames, scores, settings.quality),
                )
                candidates.append(candidate)
                follows = candidate.key if candidate.is_kept else None
    return candidates


def _time_boundary(sightings: Sightings) -> int:
    return sightings.first_frame + round(TRAIN_SHARE * sightings.num_frames)


def _side(part: Tube, boundary: int) -> Literal["train", "test"]:
    return "train" if part.first_frame < boundary else "test"
