"""Where motion comes from: a video, an image, or a motion file, opened and framed.

A clip is decoded twice, once to find its face and once for its pixels. A motion file has no pixels; once all
motion weights of a clip have been collected, it is decoded again only if its frames are to be shown.
Axes: K directions, S side of the network's images.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, repeat, tee
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from lia_model.animation.footage import Footage, open_footage
from lia_model.animation.framing import Framing, NoFaceError, frame_clip
from lia_model.animation.motion_file import Motion, is_motion_file, read_motion
from lia_model.animation.prefetch import prefetch
from lia_model.animation.run import AnimationRun
from preprocessing.media.boxes import Box, middle_square
from preprocessing.media.images import cut
from preprocessing.media.timeline import Segment


class DrivingFrame(NamedTuple):
    """One driving frame."""

    start: Fraction
    """When it is shown, in seconds."""
    weights: Float32[np.ndarray, " K"]
    view: UInt8[np.ndarray, "S S 3"] | None
    """The frame as the model sees it, if it is to be shown."""


@dataclass(frozen=True)
class Driving:
    """Footage, a motion file, or footage whose motion weights are known already."""

    name: str
    num_frames: int
    """From the header, so an estimate, until the clip has been framed."""
    fps: Fraction
    is_still: bool
    """Whether it is one image, whose pose holds for any number of frames."""
    footage: Footage | None
    motion: Motion | None
    """All motion weights; None until they are read from a file or collected."""
    square: Box | None
    """Part of the footage that the model sees; None before it is framed, and for a motion file."""
    framing: Framing | None
    """Position of the face in the square; None without cropping."""

    @property
    def sound(self) -> Path | None:
        """Return the file with its sound; None for a motion file."""
        return None if self.footage is None else self.footage.sound

    @property
    def has_constant_rate(self) -> bool:
        """Return whether its frames come at `fps`, without holes."""
        if self.footage is not None:
            return self.footage.has_constant_rate
        return self.motion is None or self.motion.starts_s is None

    @property
    def frame_s(self) -> Fraction:
        """Return the usual time from frame to frame in its file."""
        return 1 / self.fps if self.footage is None else self.footage.frame_s

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return the stretches of the footage without a hole."""
        return () if self.footage is None else self.footage.segments


def open_driving(path: Path, run: AnimationRun, convert: bool) -> Driving:
    """Open the file that provides the motion.

    Raises:
        UnreadableMediaError: it is neither image, video nor motion file, or a motion file of another model.
    """
    if is_motion_file(path):
        motion = read_motion(path, run.animator.fingerprint)
        count, framing = len(motion.weights), motion.framing
        return Driving(path.name, count, motion.fps, motion.is_still, None, motion, None, framing)
    footage = open_footage(path, convert, run.decoding)
    return Driving(
        path.name, footage.num_frames, footage.fps, footage.is_still, footage, None, square=None, framing=None
    )


def frame_driving(driving: Driving, run: AnimationRun) -> Driving:
    """Return the driving with its square; a motion file already has its framing.

    Raises:
        NoFaceError: the whole clip shows no face.
        UnreadableMediaError: nothing of the clip can be decoded, or with `strict`, not all of it.
        StoppedError: the run was stopped.
    """
    footage = driving.footage
    if footage is None:
        return driving
    if run.cropper is None:
        height, width = footage.first_frame().shape[:2]
        return replace(driving, square=middle_square((width, height)))
    framings, num_frames = frame_clip(run.until_stopped(footage.frames()), run.cropper, "largest")
    if not framings:
        raise NoFaceError("driving", footage.path)
    return replace(driving, square=framings[0].square, framing=framings[0], num_frames=num_frames)


def collect_motion(driving: Driving, run: AnimationRun) -> Motion:
    """Return all motion weights of a framed driving, K numbers per frame.

    Raises:
        UnreadableMediaError: nothing of the clip can be decoded, or with `strict`, not all of it.
        StoppedError: the run was stopped.
    """
    if driving.motion is not None:
        return driving.motion
    views = prefetch(_views(driving, run), 2 * run.batch_size)
    starts_s = array("d")

    def images() -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        for view in views:
            starts_s.append(float(view.start))
            yield view.image

    rows = run.animator.motion_weights(images(), run.batch_size)
    first = next(rows)
    # One array that grows: rows kept one by one, among the frames that come and go, would fragment the heap.
    weights = np.fromiter(chain([first], rows), np.dtype((np.float32, first.shape)))
    times = None if driving.has_constant_rate else np.array(starts_s)
    return Motion(weights, driving.fps, driving.is_still, run.animator.fingerprint, driving.framing, times)


def driving_frames(driving: Driving, run: AnimationRun, with_views: bool) -> Iterator[DrivingFrame]:
    """Yield the motion weights of each frame, with its picture if that is to be shown."""
    if driving.motion is None:
        # Decoding goes on while the model computes.
        views, shown = tee(prefetch(_views(driving, run), 2 * run.batch_size))
        weights = run.animator.motion_weights((view.image for view in views), run.batch_size)
    else:
        starts = _starts(driving.motion)
        if not with_views:
            yield from map(DrivingFrame, starts, run.until_stopped(driving.motion.weights), repeat(None))
            return
        weights, shown = iter(driving.motion.weights), _views(driving, run)
    for motion, view in zip(weights, shown, strict=False):
        yield DrivingFrame(view.start, motion, view.image if with_views else None)


def extract_motion(run: AnimationRun, path: Path, convert: bool = True) -> Motion:
    """Return a clip's motion, which drives as the clip itself does.

    Args:
        run: the model and how it is run.
        path: a video or an image; a motion file is returned unchanged.
        convert: convert an image that is not 8-bit RGB; False refuses it.

    Raises:
        NoFaceError: the whole clip shows no face.
        UnreadableMediaError: the file cannot be used, or with `strict`, the clip is incomplete.
        StoppedError: the run was stopped.
    """
    return collect_motion(frame_driving(open_driving(path, run, convert), run), run)


class _View(NamedTuple):
    """A driving frame as the model sees it, and when it is shown, in seconds."""

    image: UInt8[np.ndarray, "S S 3"]
    start: Fraction


def _starts(motion: Motion) -> Iterator[Fraction]:
    if motion.starts_s is None:
        return (number / motion.fps for number in range(len(motion.weights)))
    return map(Fraction, motion.starts_s.tolist())


def _views(driving: Driving, run: AnimationRun) -> Iterator[_View]:
    assert driving.footage is not None
    assert driving.square is not None
    for frame in run.until_stopped(driving.footage.shown()):
        yield _View(cut(frame.image, driving.square, run.size_px), frame.start)
