"""The face in each frame of a clip: the member `faces.json` of its sample. Pure.

Lengths are pixels of the stored square frames, from their upper left corner: pixel 0 reaches from 0 to 1, and
a box's right and bottom are exclusive. A face may reach beyond the frame. T frames.
"""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from preprocessing.faces.pose import pose_of
from preprocessing.faces.sightings import Sighting
from preprocessing.faces.tracks import Tube
from preprocessing.media.boxes import Box

FACES = "faces.json"
"""Ending of the member's name."""
NUM_DIGITS = 2
"""Digits after the point of stored lengths; scores have twice as many, and angles one."""


class ClipFaces(BaseModel):
    """The face in each frame; each list has one item a frame."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size_px: int
    """Side of the frames that lengths refer to."""
    interpolated: list[bool]
    """Whether no detector looked at the frame: the other values lie on the line between the nearest frames
    with a detection, before and after it."""
    box: list[tuple[float, float, float, float]]
    """Left, top, right, bottom."""
    points: list[list[tuple[float, float]]]
    """x, y of five points: the eye at the image's left, the eye at its right, the tip of the nose, and the
    corners of the mouth at the image's left and right."""
    score: list[float]
    """Confidence of the detector, 0 to 1."""
    yaw_deg: list[float]
    """Angle of the head, positive towards the image's right."""
    pitch_deg: list[float]
    """Positive downwards."""
    roll_deg: list[float]
    """Positive clockwise as seen in the image."""

    def to_json(self) -> bytes:
        """Return the member's content; equal faces give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


def clip_faces(tube: Tube, crop: Box, size_px: int) -> ClipFaces | None:
    """Return the face in each frame; None for a given box, of which no detector knows points.

    Args:
        tube: the face in pixels of the source's frame.
        crop: what of it is stored.
        size_px: side of the stored frames.
    """
    frames, faces = detections(tube)
    if not frames:
        return None
    wanted = tube.first_frame + np.arange(tube.num_frames)
    scale = np.array([size_px / crop.width, size_px / crop.height])
    corner = np.array([crop.left, crop.top])
    points = _between(wanted, frames, [((face.points - corner) * scale).ravel() for face in faces])
    boxes = (tube.boxes - np.tile(corner, 2)) * np.tile(scale, 2)
    poses = np.round(_between(wanted, frames, [np.array(pose_of(face.points)) for face in faces]), 1)
    scores = _between(wanted, frames, [np.array([face.score]) for face in faces])
    detected = set(frames)
    # Zero is added, since rounding leaves negative zeros.
    yaws, pitches, rolls = (poses + 0.0).T.tolist()
    return ClipFaces(
        size_px=size_px,
        interpolated=[frame not in detected for frame in wanted.tolist()],
        box=[tuple(box) for box in (np.round(boxes, NUM_DIGITS) + 0.0).tolist()],
        points=[
            [(x, y) for x, y in five]
            for five in (np.round(points.reshape(-1, 5, 2), NUM_DIGITS) + 0.0).tolist()
        ],
        score=np.round(scores[:, 0], 2 * NUM_DIGITS).tolist(),
        yaw_deg=yaws,
        pitch_deg=pitches,
        roll_deg=rolls,
    )


def frame_yaws(tube: Tube) -> list[float] | None:
    """Return the yaw of the head in each frame, in degrees, or None if no face was detected.

    It is measured in the detector's frames and interpolated linearly between them, as the boxes are.
    """
    frames, faces = detections(tube)
    if not frames:
        return None
    wanted = tube.first_frame + np.arange(tube.num_frames)
    yaws = _between(wanted, frames, [np.array([pose_of(face.points).yaw]) for face in faces])
    return [round(yaw, 1) for yaw in yaws[:, 0].tolist()]


def detections(tube: Tube) -> tuple[list[int], list[Sighting]]:
    """Return the frames with a detected face and the faces: those of the tube, and the next ones outside."""
    inside = [
        (frame, face)
        for frame, face in zip(tube.face_frames, tube.faces, strict=True)
        if tube.first_frame <= frame < tube.end_frame
    ]
    pairs = [*tube.before, *inside, *tube.after]
    known = [pair for pair in pairs if np.isfinite(pair[1].points).all()]
    return [frame for frame, _ in known], [face for _, face in known]


def _between(
    wanted: NDArray[np.int64], frames: Sequence[int], values: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Interpolate linearly between the values of some frames; beyond the first and the last they stay."""
    table = np.stack(values)
    return np.stack([np.interp(wanted, frames, column) for column in table.T], axis=1)
