"""Linear manipulation: a portrait moved along one motion direction at a time, to show what each does.

z = z_source + D (a_source + delta e_i), delta in even steps from -range to range. Directions count from 1.
Axes: T deltas, K directions, S side of the network's images; images are uint8 RGB.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from lia_model.animation.compositing import resize
from lia_model.animation.footage import first_picture
from lia_model.animation.framing import FaceCropper, NoFaceError, choose_faces
from lia_model.animator import Animator
from preprocessing.media.boxes import middle_square, square_around
from preprocessing.media.images import cut
from preprocessing.media.video_writer import VideoWriter
from preprocessing.strips import evenly_spaced, grid, labelled_grid

FPS = Fraction(8)
MAX_FRAMES = 256
CONTACT_SHEET = "contact_sheet.png"
MAX_CELL_PX = 96
MAX_COLUMNS = 16


@dataclass(frozen=True)
class ManipulationRequest:
    """A portrait to be moved along every direction."""

    source: Path
    """An image, or a video whose first frame is used."""
    output: Path
    """Folder for the strips, the videos and the contact sheet."""
    reach: float
    """Largest step along a direction, both ways; the paper shows 3."""
    num_frames: int
    """Number of steps from -reach to +reach, 2 to 256."""
    batch_size: int = 16
    """Frames per forward pass."""
    convert: bool = True
    """Whether to convert an image that is not 8-bit RGB; False refuses it."""


def manipulate_file(
    animator: Animator,
    cropper: FaceCropper | None,
    request: ManipulationRequest,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write `direction_NN.png` and `.mp4` for every direction, and `contact_sheet.png`.

    Args:
        animator: the model.
        cropper: crops to the largest face; None crops the largest central square.
        request: the portrait, the steps and the output folder.
        progress: called after each direction with (done, total).

    Returns:
        The number of directions.

    Raises:
        NoFaceError: no face is detected in the source.
        UnreadableMediaError: the source cannot be decoded or is too small.
        ValueError: the range or the number of frames is out of bounds.
    """
    deltas = even_deltas(request.reach, request.num_frames)
    portrait = _portrait(animator, cropper, request)
    own = next(animator.motion_weights([portrait], request.batch_size))
    shown = evenly_spaced(len(deltas), MAX_COLUMNS)
    request.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for direction in range(len(own)):
        walk = walk_along(own, direction, deltas)
        images = list(animator.synthesize(portrait, walk, batch_size=request.batch_size))
        name = request.output / f"direction_{direction + 1:02d}"
        Image.fromarray(grid([images])).save(name.with_suffix(".png"))
        with VideoWriter(name.with_suffix(".mp4"), FPS, (animator.size_px, animator.size_px)) as video:
            for image in images:
                video.write(image)
        cell = min(animator.size_px, MAX_CELL_PX)
        rows.append([resize(images[number], cell, cell) for number in shown])
        progress(direction + 1, len(own))
    Image.fromarray(contact_sheet(rows, deltas[shown])).save(request.output / CONTACT_SHEET)
    return len(own)


def even_deltas(reach: float, num_frames: int) -> Float64[np.ndarray, " T"]:
    """Return `num_frames` even steps from -`reach` to `reach`.

    Raises:
        ValueError: either is out of bounds.
    """
    if not (math.isfinite(reach) and reach > 0):
        raise ValueError(f"got range {reach}; it must be finite and above 0: try 3, as in the paper")
    if not 2 <= num_frames <= MAX_FRAMES:
        raise ValueError(f"got {num_frames} frames; allowed are 2 to {MAX_FRAMES}: try 16")
    return np.linspace(-reach, reach, num_frames)


def walk_along(
    weights: Float32[np.ndarray, " K"], direction: int, deltas: Float64[np.ndarray, " T"]
) -> Float32[np.ndarray, "T K"]:
    """Return one copy of `weights` per delta, with the delta added to `direction` (counted from 0)."""
    walk = np.repeat(weights[None], len(deltas), axis=0)
    walk[:, direction] += deltas
    return walk


def contact_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "S S 3"]]], deltas: Float64[np.ndarray, " T"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a labelled grid: a row for each direction, a column for each delta."""
    decimals = num_decimals(deltas)
    return labelled_grid(
        rows,
        row_labels=[str(number) for number in range(1, len(rows) + 1)],
        column_labels=[f"{delta:+.{decimals}f}" for delta in deltas],
        corner="delta",
    )


def num_decimals(deltas: Float64[np.ndarray, " T"]) -> int:
    """Return the fewest decimals that write the deltas exactly, at most those that tell them apart."""
    step = deltas[1] - deltas[0]
    enough = max(0, math.ceil(-math.log10(step))) + 1
    exact = [
        count for count in range(enough) if np.allclose(deltas, deltas.round(count), rtol=0, atol=step / 100)
    ]
    return min([*exact, enough])


def _portrait(
    animator: Animator, cropper: FaceCropper | None, request: ManipulationRequest
) -> UInt8[np.ndarray, "S S 3"]:
    image = first_picture(request.source, request.convert)
    if cropper is None:
        return cut(image, middle_square((image.shape[1], image.shape[0])), animator.size_px)
    faces = cropper.find(image)
    if not faces:
        raise NoFaceError("source", request.source)
    return cut(image, square_around(choose_faces(faces, "largest")[0], cropper.scale), animator.size_px)
