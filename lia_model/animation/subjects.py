"""What an animation moves: the source's faces, the square around each, and where its motion starts.

Axes: K directions.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from lia_model.animation.driving import Driving
from lia_model.animation.footage import Footage
from lia_model.animation.framing import Framing, NoFaceError, choose_faces, frame_clip, square_of
from lia_model.animation.options import AnimationOptions
from lia_model.animation.run import AnimationRun
from lia_model.networks.relative_motion import is_relative, nearest_frame
from preprocessing.media.boxes import Box, square_around
from preprocessing.media.images import cut

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MovedSource:
    """What is moved, and where its faces are."""

    footage: Footage
    num_frames: int
    faces: tuple[Box, ...] = ()
    """In a photo; their squares follow from the driving clip's framing."""
    squares: tuple[Box, ...] = ()
    """In a video, or without cropping."""
    scale: float = 1.0
    """Side of a square over the side of its face, if the driving clip has no framing."""
    follows: Bool[np.ndarray, " K"] | None = None
    """Which motion directions follow the driving clip; None is all of them."""

    @property
    def num_faces(self) -> int:
        """Return how many faces are animated."""
        return len(self.squares or self.faces)

    def square(self, number: int, framing: Framing | None, start: int) -> Box:
        """Return the square of one face; motion counts from the driving frame `start`."""
        if self.squares:
            return self.squares[number]
        face = self.faces[number]
        return square_around(face, self.scale) if framing is None else framing.around(face, start)


class Subject(NamedTuple):
    """One face of the source."""

    square: Box
    start: Float32[np.ndarray, " K"] | None
    """Motion weights that relative motion counts from; None for absolute motion."""
    follows: Bool[np.ndarray, " K"] | None
    """Which motion directions follow the driving clip; the others keep the source's pose. None is all."""


def find_source(footage: Footage, run: AnimationRun, options: AnimationOptions) -> MovedSource:
    """Find the faces that the options ask for.

    Raises:
        NoFaceError: there is none.
        NoSuchFaceError: there are fewer than the number of the one asked for.
        StoppedError: the run was stopped.
    """
    if run.cropper is None or options.source_square is not None:
        square = square_of(footage.first_frame(), options.source_square)
        return MovedSource(footage, footage.num_frames, squares=(square,))
    if footage.is_still:
        faces = run.cropper.find(footage.first_frame())
        if not faces:
            raise NoFaceError("source", footage.path)
        return MovedSource(
            footage, 1, faces=tuple(choose_faces(faces, options.face)), scale=run.cropper.scale
        )
    framings, num_frames = frame_clip(run.until_stopped(footage.frames()), run.cropper, options.face)
    if not framings:
        raise NoFaceError("source", footage.path)
    return MovedSource(footage, num_frames, squares=tuple(framing.square for framing in framings))


def aim(
    run: AnimationRun,
    source: MovedSource,
    number: int,
    driving: Driving,
    first: Float32[np.ndarray, " K"],
    options: AnimationOptions,
) -> Subject:
    """Decide the square of one of the faces and where its motion starts.

    Args:
        run: the model and how it is run.
        source: what is moved.
        number: of the face, counted from 0.
        driving: the framed driving file, with its motion if it starts at the best frame.
        first: motion weights of the first driving frame.
        options: mode and start.
    """
    square = source.square(number, driving.framing, 0)
    if not is_relative(options.mode):
        return Subject(square, None, source.follows)
    if options.start == "first":
        return Subject(square, first, source.follows)
    assert driving.motion is not None
    motion = driving.motion.weights
    portrait = cut(source.footage.first_frame(), square, run.size_px)
    own = next(run.animator.motion_weights([portrait], run.batch_size))
    frame = nearest_frame(motion, own)
    logger.info("motion starts at frame %d of %s, counted from 0", frame, driving.name)
    return Subject(source.square(number, driving.framing, frame), motion[frame], source.follows)
