"""Distances between two faces, as papers on face animation report them.

Faces are 68 landmarks as x, y in pixels, and identity embeddings. `metric_table` has the names and directions
of the metrics, `losses.image_distances` the distances between images.
Axes: D embedding width.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

OUTER_EYE_CORNERS = (36, 45)
"""Indices among the 68 landmarks."""


def landmark_distance(a: Float[np.ndarray, "68 2"], b: Float[np.ndarray, "68 2"]) -> float:
    """Return the mean distance of corresponding landmarks in pixels; its mean over frames is AKD."""
    return float(np.linalg.norm(a - b, axis=1).mean())


def identity_distance(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Return the Euclidean distance of two identity embeddings; its mean over frames is AED."""
    return float(np.linalg.norm(a - b))


def identity_similarity(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Return the cosine of two identity embeddings; its mean over frames is CSIM."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def face_shape(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
    """Normalise landmarks by position, size and rotation in the image plane.

    Their mean becomes 0; the line between the outer corners of the eyes becomes horizontal and of length 1.
    """
    left, right = landmarks[list(OUTER_EYE_CORNERS)]
    # As complex numbers, one division by the line between the eyes rotates and scales.
    line = complex(*(right - left))
    points = (landmarks - landmarks.mean(axis=0)) @ np.array([1, 1j]) / line
    return np.stack([points.real, points.imag], axis=1)


def motion_distance(
    result: tuple[Float[np.ndarray, "68 2"], Float[np.ndarray, "68 2"]],
    driving: tuple[Float[np.ndarray, "68 2"], Float[np.ndarray, "68 2"]],
) -> float:
    """Return the difference between two faces' changes of shape: expression, and rotation out of the image.

    Each face is (first frame, this frame). Changes are compared instead of shapes, since the identities
    differ. The unit is the distance between the outer corners of the eyes; for a face that does not move, the
    result is the length of the other face's motion.
    """
    changes = [face_shape(now) - face_shape(first) for first, now in (result, driving)]
    return float(np.linalg.norm(changes[0] - changes[1], axis=1).mean())
