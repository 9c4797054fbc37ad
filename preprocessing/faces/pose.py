"""Which way a head faces, from the five points of a face detector. Pure.

Scaled orthography (DeMenthon and Davis 1995): the affine map that takes a model head's points to the picture
is fitted by least squares, and the nearest rotation to it is the head's pose.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Eyes, tip of the nose, corners of the mouth of an average head, in distances between the eyes: x to the
# picture's right, y down, z away from the camera.
_MODEL = np.array([(-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.6, -0.5), (-0.4, 1.1, -0.1), (0.4, 1.1, -0.1)])
_CENTRED = _MODEL - _MODEL.mean(axis=0)


class Pose(NamedTuple):
    """Angles in degrees, 0 facing the camera."""

    yaw: float
    """Towards the picture's right."""
    pitch: float
    """Downwards."""
    roll: float
    """Clockwise as seen in the picture."""


def pose_of(points: NDArray[np.float64]) -> Pose:
    """Return the pose of the face whose eyes, nose and corners of the mouth are at `points`, x, y: [5, 2].

    Good to a few degrees up to about 60 of yaw; heads differ, so pitch is the least certain.
    """
    centred = points - points.mean(axis=0)
    rows = np.linalg.lstsq(_CENTRED, centred, rcond=None)[0].T
    # The two rows of a scaled rotation are equally long and at right angles; noise makes them neither.
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    x_axis, y_axis = left @ right
    z_axis = np.cross(x_axis, y_axis)
    rotation = np.stack([x_axis, y_axis, z_axis])
    facing = rotation @ np.array([0.0, 0.0, -1.0])
    yaw = np.arctan2(facing[0], -facing[2])
    pitch = np.arcsin(np.clip(facing[1], -1.0, 1.0))
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
