"""Signature of a clip: what its face does over time, by which copies of a recording are recognized. Pure.

Taken from the miniatures around the face. The luma of each is normalised by the mean and the deviation around
every pixel (Jarrett et al. 2009), which removes most of a colour grading, and reduced to a grid of 6 by 6.
N miniatures, D = 36 numbers of a grid.
"""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from preprocessing.faces.miniatures import STEP_S
from preprocessing.faces.sightings import Sightings
from preprocessing.faces.tracks import Tube

GRID = 6
"""Rows and columns of a look."""
_SQUARE_SCALE = 1.5
"""Side of the square around the face over the face's longer side. Copies are often cropped anew, so it shows
little beside the face."""
_STEADY_S = 2.0
"""Standard deviation over which the square follows the face. It must not follow faster, since the movement of
the face in the square is what tells two recordings apart."""
_SAMPLE_PX = 30
_SURROUNDINGS_PX = 6.0
_NOISE = 6.0
"""Added to the deviation, so that noise in flat regions is not amplified; in levels of luma."""
_LEVELS = 50.0
"""Stored units of one normalised luma."""


@dataclass(frozen=True)
class Signature:
    """Looks of a clip's face in order of time."""

    times_s: NDArray[np.float64]
    """Mean presentation time of each look's frames, from the video's beginning: [N]."""
    looks: NDArray[np.int8]
    """Normalised luma around the face: [N, D]."""

    @classmethod
    def from_bytes(cls, data: bytes) -> "Signature":
        """Return the signature of which these are the bytes."""
        num_looks = len(data) // (4 + GRID**2)
        times = np.frombuffer(data, "<i4", num_looks) / 1000
        return cls(times, np.frombuffer(data, np.int8, offset=4 * num_looks).reshape(-1, GRID**2))

    def __bytes__(self) -> bytes:
        """Return it as about 200 bytes a second; times are in milliseconds."""
        return np.round(1000 * self.times_s).astype("<i4").tobytes() + self.looks.tobytes()

    def to_text(self) -> str:
        """Return its bytes as base85 text."""
        return base64.b85encode(bytes(self)).decode()


def read_signature(text: str) -> Signature:
    """Return the signature that `to_text` wrote."""
    return Signature.from_bytes(base64.b85decode(text))


def clip_signature(tube: Tube, sightings: Sightings) -> Signature:
    """Return the signature of a tube; only miniatures of its own frames alone count, which may be none."""
    first_frames = np.array([*sightings.miniatures.first_frames, sightings.end_frame])
    starts, ends = first_frames[:-1], first_frames[1:]
    inside = np.flatnonzero((starts >= tube.first_frame) & (ends <= tube.end_frame))
    if len(inside) == 0:
        return Signature(np.zeros(0), np.zeros((0, GRID**2), np.int8))
    spans = [range(starts[place], ends[place]) for place in inside]
    times_s = np.array([float(np.mean(sightings.frame_times(span.start, span.stop))) for span in spans])
    first = tube.first_frame
    boxes = np.array([tube.boxes[span.start - first : span.stop - first].mean(axis=0) for span in spans])
    luma = sightings.miniatures.luma[inside]
    # Rounding to whole pixels makes a miniature's scale differ a little between the axes.
    scale = np.array(sightings.miniatures.size) / np.array(sightings.frame_size)
    squares = _steady(boxes * np.tile(scale, 2))
    looks = [_look(image, square) for image, square in zip(luma, squares, strict=True)]
    return Signature(times_s, np.array(looks, np.int8))


def _steady(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return smoothed boxes, [N, 4]; at the ends, the mean is taken over the boxes that exist."""
    sigma = _STEADY_S / STEP_S
    weight = gaussian_filter1d(np.ones(len(boxes)), sigma, mode="constant")
    return gaussian_filter1d(boxes, sigma, axis=0, mode="constant") / weight[:, None]


def _look(image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.int8]:
    left, top, right, bottom = box.tolist()
    step = _SQUARE_SCALE * max(right - left, bottom - top) / _SAMPLE_PX
    # Pixel centres are at whole numbers, and at halves in a box's coordinates.
    corner = [(side - step * (_SAMPLE_PX - 1) - 1) / 2 for side in (left + right, top + bottom)]
    placement = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (_SAMPLE_PX, _SAMPLE_PX)
    luma = cv2.warpAffine(
        image.astype(np.float32), placement, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    mean = cv2.GaussianBlur(luma, (0, 0), _SURROUNDINGS_PX)
    squares = cv2.GaussianBlur(luma * luma, (0, 0), _SURROUNDINGS_PX)
    deviation = np.sqrt(np.maximum(squares - mean * mean, 0))
    normalised = (luma - mean) / (deviation + _NOISE)
    grid = cv2.resize(normalised, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(_LEVELS * grid), -127, 127).astype(np.int8).ravel()
