"""Scores of a clip, and whether they are good enough. Pure; thresholds come from the settings."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydantic import BaseModel, ConfigDict

from preprocessing.faces.appearance import change
from preprocessing.faces.pose import pose_of
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Tube
from preprocessing.media.boxes import Box
from preprocessing.outcome import Filtered, Kept
from preprocessing.settings import QualitySettings


class Scores(BaseModel):
    """What is known about a clip before it is cut; None where it could not be measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mean_score: float
    """Mean confidence of the detected faces."""
    sharpness: float
    """Median variance of the Laplacian."""
    brightness: float
    """Median mean luma of the face, 0 to 255."""
    yaw_deg: float | None
    """Median angle of the head to the left or right, without its sign."""
    pitch_deg: float | None
    """Median angle of the head up or down, with its sign."""
    roll_deg: float | None
    """Median tilt of the head, without its sign."""
    other_face: float
    """Largest share of the crop that another face covers in any analysed frame."""
    motion: float | None
    """Mean change of the face's thumbnail from one sighting to the next, of 255."""


def score(tube: Tube, square: Box, sightings: Sightings) -> Scores:
    """Measure a clip by its sightings and those of others that its crop would show."""
    faces = tube.faces
    poses = [pose_of(face.points) for face in faces if np.isfinite(face.points).all()]
    thumbnails = [face.appearance.thumbnail for face in faces]
    changes = [change(one, other) for one, other in pairwise(thumbnails)]
    return Scores(
        mean_score=float(np.mean([face.score for face in faces])),
        sharpness=_median([face.appearance.sharpness for face in faces]),
        brightness=_median([face.appearance.brightness for face in faces]),
        yaw_deg=_median([abs(pose.yaw) for pose in poses]) if poses else None,
        pitch_deg=_median([pose.pitch for pose in poses]) if poses else None,
        roll_deg=_median([abs(pose.roll) for pose in poses]) if poses else None,
        other_face=_other_face(tube, square, sightings),
        motion=float(np.mean(changes)) if changes else None,
    )


def judge(num_frames: int, scores: Scores, settings: QualitySettings) -> Kept | Filtered:
    """Return the clip's outcome: the first rule that it breaks, if any; a score that is None breaks none."""
    rules = (
        ("too_short", num_frames, settings.min_num_frames, None),
        ("low_confidence", scores.mean_score, settings.min_mean_score, None),
        ("dark", scores.brightness, settings.min_brightness, None),
        ("blurry", scores.sharpness, settings.min_sharpness, None),
        ("extreme_pose", scores.yaw_deg, None, settings.max_yaw_deg),
        ("multiple_faces", scores.other_face, None, settings.max_other_face),
        ("static", scores.motion, settings.min_motion, None),
    )
    for reason, value, least, most in rules:
        is_low = value is not None and least is not None and value < least
        is_high = value is not None and most is not None and value > most
        if is_low or is_high:
            return Filtered(reason)
    return Kept()


def _other_face(tube: Tube, square: Box, sightings: Sightings) -> float:
    own = {id(face) for face in tube.faces}
    end = tube.first_frame + len(tube.boxes)
    shares = [
        _covered(square, face.box)
        for frame, faces in zip(sightings.frames, sightings.faces, strict=True)
        if tube.first_frame <= frame < end
        for face in faces
        if id(face) not in own
    ]
    return max(shares, default=0.0)


def _covered(square: Box, box: Box) -> float:
    width = min(square.right, box.right) - max(square.left, box.left)
    height = min(square.bottom, box.bottom) - max(square.top, box.top)
    return max(width, 0.0) * max(height, 0.0) / (square.width * square.height)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
