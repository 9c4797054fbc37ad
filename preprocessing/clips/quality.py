"""Quality of a clip: its scores, and the thresholds that decide whether it is kept. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from preprocessing.faces.appearance import luma_change
from preprocessing.faces.pose import pose_of
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Tube
from preprocessing.ledger import ClipScores
from preprocessing.media.boxes import Box
from preprocessing.outcome import Filtered, Kept
from preprocessing.settings import QualitySettings


def score_clip(tube: Tube, crop: Box, sightings: Sightings) -> ClipScores:
    """Compute a clip's scores from its sightings, and from those of other faces inside its crop."""
    faces = tube.faces
    poses = [pose_of(face.points) for face in faces if np.isfinite(face.points).all()]
    grids = [face.appearance.luma for face in faces]
    changes = [luma_change(one, other) for one, other in pairwise(grids)]
    return ClipScores(
        mean_score=float(np.mean([face.score for face in faces])),
        sharpness=_median([face.appearance.sharpness for face in faces]),
        brightness=_median([face.appearance.brightness for face in faces]),
        yaw_deg=_median([abs(pose.yaw) for pose in poses]) if poses else None,
        pitch_deg=_median([pose.pitch for pose in poses]) if poses else None,
        roll_deg=_median([abs(pose.roll) for pose in poses]) if poses else None,
        other_face=_largest_other_face(tube, crop, sightings),
        motion=float(np.mean(changes)) if changes else None,
    )


def keep_or_filter(num_frames: int, scores: ClipScores, settings: QualitySettings) -> Kept | Filtered:
    """Return `Kept`, or `Filtered` by the first threshold the clip fails; a score of None fails none."""
    pitch_deg = None if scores.pitch_deg is None else abs(scores.pitch_deg)
    rules = (
        ("too_short", num_frames, settings.min_num_frames, None),
        ("low_confidence", scores.mean_score, settings.min_mean_score, None),
        ("dark", scores.brightness, settings.min_brightness, None),
        ("blurry", scores.sharpness, settings.min_sharpness, None),
        ("extreme_pose", scores.yaw_deg, None, settings.max_yaw_deg),
        ("extreme_pitch", pitch_deg, None, settings.max_pitch_deg),
        ("extreme_roll", scores.roll_deg, None, settings.max_roll_deg),
        ("multiple_faces", scores.other_face, None, settings.max_other_face),
        ("static", scores.motion, settings.min_motion, None),
    )
    for reason, value, least, most in rules:
        is_low = value is not None and least is not None and value < least
        is_high = value is not None and most is not None and value > most
        if is_low or is_high:
            return Filtered(reason)
    return Kept()


def _largest_other_face(tube: Tube, crop: Box, sightings: Sightings) -> float:
    own = {id(face) for face in tube.faces}
    shares = [
        _covered_share(crop, face.box)
        for frame, faces in zip(sightings.frames, sightings.faces, strict=True)
        if tube.first_frame <= frame < tube.end_frame
        for face in faces
        if id(face) not in own
    ]
    return max(shares, default=0.0)


def _covered_share(crop: Box, box: Box) -> float:
    width = min(crop.right, box.right) - max(crop.left, box.left)
    height = min(crop.bottom, box.bottom) - max(crop.top, box.top)
    return max(width, 0.0) * max(height, 0.0) / (crop.width * crop.height)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
