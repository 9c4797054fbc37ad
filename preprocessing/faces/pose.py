"""Head pose from the five landmarks of a face detector. Pure.

Scaled orthography (DeMenthon and Davis 1995): fits the affine map from a model head's points to the image by
least squares; the rotation closest to it is the head's pose.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Eyes, tip of the nose and corners of the mouth of an average head; the unit is the distance between the
# eyes. x points to the image's right, y down, z away from the camera.
_MODEL = np.array([(-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.6, -0.5), (-0.4, 1.1, -0.1), (0.4, 1.1, -0.1)])
_CENTRED = _MODEL - _MODEL.mean(axis=0)


class Pose(NamedTuple):
    """Angles in degrees; all are 0 for an upright head that faces the camera."""

    yaw: float
    """Positive towards the image's right."""
    pitch: float
    """Positive downwards."""
    roll: float
    """Positive clockwise as seen in the image."""


def pose_of(points: NDArray[np.float64]) -> Pose:
    """Return the pose of a face from its eyes, tip of the nose and corners of the mouth as x, y: [5, 2].

    Accurate to a few degrees for yaw up to about 60; pitch is the least accurate, because heads differ.
    """
    centred = points - points.mean(axis=0)
    rows = np.linalg.lstsq(_CENTRED, centred, rcond=None)[0].T
    # The two rows of a scaled rotation are orthogonal and of equal length; with noise they are not.
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    x_axis, y_axis = left @ right
    z_axis = np.cross(x_axis, y_axis)
    rotation = np.stack([x_axis, y_axis, z_axis])
    facing = rotation @ np.array([0.0, 0.0, -1.0])
    yaw = np.arctan2(facing[0], -facing[2])
    pitch = np.arcsin(np.clip(facing[1], -1.0, 1.0))
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
