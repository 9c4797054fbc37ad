"""From files to a file: decode, crop, animate, compose, encode. Used by the command line and the service.

A driving video, image or motion file moves a photo, or a video frame by frame. Everything streams: a video is
read once for its faces, once more for its pixels, and with `start="best"` once for its motion weights alone.
Axes: T frames, K directions, S side of the network's images.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, tee, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from lia_model.animation.compositing import paste, side_by_side
from lia_model.animation.driving import Driving, Moved, open_driving, until
from lia_model.animation.footage import Footage, open_footage
from lia_model.animation.framing import (
    FaceChoice,
    FaceCropper,
    Framing,
    NoFaceError,
    choose_faces,
    frame_clip,
    middle_square,
)
from lia_model.animation.motion_file import is_motion_file
from lia_model.animation.prefetch import ahead
from lia_model.animator import Animator, is_relative, nearest_frame
from preprocessing.media.boxes import Box, square_around
from preprocessing.media.images import cut
from preprocessing.media.video_writer import VideoWriter

logger = logging.getLogger(__name__)

NUM_PICTURES_AHEAD = 4
"""Finished pictures that wait for the encoder; whole photographs are large."""


@dataclass(frozen=True)
class AnimationRequest:
    """One animation."""

    source: Path
    """Portrait: an image, or a video whose t-th frame is moved as the driving motion's t-th says."""
    driving: Path
    """Whose motion: a video, a motion file, or an image, whose pose holds for all of a source video."""
    output: Path
    """The mp4 to write; an older one is replaced when the new one is complete."""
    mode: Literal["relative", "absolute"] = "relative"
    """Motion relative to the driving clip's starting frame, or absolute."""
    batch_size: int = 16
    """Driving frames a forward pass."""
    start: Literal["first", "best"] = "first"
    """Where relative motion starts: at the first driving frame, or at the one most like the source's pose."""
    face: FaceChoice = "largest"
    """Which of the source's faces; all of them only with `paste_back`."""
    paste_back: bool = False
    """Put the result back into the whole source picture, with a soft edge."""
    side_by_side: bool = False
    """Show source, driving clip as the model sees it, and result next to each other."""
    convert: bool = True
    """Make images upright 8-bit RGB where they are not; False refuses them."""
    hardware: bool = False
    """Decode and encode video on the GPU."""


@dataclass(frozen=True)
class AnimationResult:
    """What was written."""

    num_frames: int
    fps: Fraction


def animate_file(
    animator: Animator,
    cropper: FaceCropper | None,
    request: AnimationRequest,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> AnimationResult:
    """Animate the source by the driving file, with exactly its number of frames, its rate and its sound.

    A source video that is shorter ends the result; one that is driven by an image gives number, rate and
    sound itself.

    Args:
        animator: the model.
        cropper: finds the faces; None takes the largest square in the middle of both pictures.
        request: what to animate.
        progress: called with the frames done and the frames in all, after each.
        should_stop: asked before each frame.

    Raises:
        NoFaceError: the source, or the whole driving clip, shows no face.
        UnreadableMediaError: one of the files cannot be used, or breaks off.
        ValueError: the request asks for what does not go together, or for a face that is not there.
        StoppedError: `should_stop` said so; nothing was written.
    """
    _check(request, cropper)
    footage = open_footage(request.source, request.convert, request.hardware)
    driving = open_driving(request.driving, animator, request.convert, request.hardware)
    _warn(request, footage, driving)
    led_by = footage if driving.is_still and not footage.is_still else driving
    progress(0, led_by.num_frames)
    source = _find_source(footage, cropper, request.face, should_stop)
    driving = driving.framed(cropper, should_stop)
    if is_relative(request.mode) and request.start == "best":
        driving = driving.collected(animator, request.batch_size, should_stop)
    motion = driving.motion(animator, request.batch_size, request.side_by_side, should_stop)
    first = next(motion)
    subjects = [
        _aim(animator, source, number, driving, first.weights, request) for number in range(source.num_faces)
    ]
    moments = _moments(source, driving, chain([first], motion), should_stop)
    total = _num_frames(source, driving)
    done = 0
    # The model computes in a thread of its own while this one encodes; a third one decodes.
    with closing(
        ahead(_compose(animator, source, subjects, moments, request), NUM_PICTURES_AHEAD)
    ) as pictures:
        sample = next(pictures)
        size = (sample.shape[1], sample.shape[0])
        with VideoWriter(request.output, led_by.fps, size, led_by.sound, request.hardware) as video:
            for picture in chain([sample], pictures):
                video.write(picture)
                done += 1
                progress(done, max(done, total))
    return AnimationResult(done, led_by.fps)


@dataclass(frozen=True)
class _Source:
    """What is moved, and where its faces are."""

    footage: Footage
    num_frames: int
    faces: tuple[Box, ...] = ()
    """Of a photo; its squares follow from the driving clip's framing."""
    squares: tuple[Box, ...] = ()
    """Of a video, or without cropping."""
    scale: float = 1.0
    """Side of a square over the face's, where the driving clip has no framing."""

    @property
    def num_faces(self) -> int:
        """How many of them are animated."""
        return len(self.squares or self.faces)

    def square(self, number: int, framing: Framing | None, start: int) -> Box:
        """Return the square of one of the faces; `start` is the driving frame that motion is counted from."""
        if self.squares:
            return self.squares[number]
        face = self.faces[number]
        return square_around(face, self.scale) if framing is None else framing.around(face, start)


class _Subject(NamedTuple):
    """One face of the source."""

    square: Box
    start: Float32[np.ndarray, " K"] | None
    """Weights that its motion is counted from; None for absolute motion."""


class _Moment(NamedTuple):
    """What makes one frame."""

    moved: Moved
    picture: UInt8[np.ndarray, "H W 3"] | None
    """The source's frame, where it is a video."""


def _check(request: AnimationRequest, cropper: FaceCropper | None) -> None:
    if request.face == "all" and not request.paste_back:
        raise ValueError(
            "face is all without paste_back; several faces have a place in the whole picture alone: "
            "add --paste-back, or choose one face"
        )
    if cropper is None and request.face != "largest":
        raise ValueError(
            f"face is {request.face} without cropping, which alone finds faces: leave out --face or --no-crop"
        )
    if request.side_by_side and is_motion_file(request.driving):
        raise ValueError(
            f"side_by_side with {request.driving}, a motion file, which holds no pictures: leave out "
            "--side-by-side, or drive with the video"
        )


def _warn(request: AnimationRequest, source: Footage, driving: Driving) -> None:
    """Say what of the request has no effect."""
    if driving.is_still and request.mode == "relative":
        logger.warning(
            "%s is one image: relative to itself it does not move, the result is the source's own pose; "
            "use mode absolute to take its pose",
            driving.name,
        )
    elif request.start == "best" and request.mode == "absolute":
        logger.warning("start best has no effect in mode absolute, which starts nowhere: leave it out")
    if not source.is_still and not driving.is_still and source.fps != driving.fps:
        logger.warning(
            "%s has %.3f frames a second, %s has %.3f: frames are paired by number, at the latter's rate",
            source.path.name,
            float(source.fps),
            driving.name,
            float(driving.fps),
        )


def _find_source(
    footage: Footage, cropper: FaceCropper | None, choice: FaceChoice, should_stop: Callable[[], bool]
) -> _Source:
    if cropper is None:
        return _Source(footage, footage.num_frames, squares=(middle_square(footage.first_frame()),))
    if footage.is_still:
        faces = cropper.find(footage.first_frame())
        if not faces:
            raise NoFaceError("source", footage.path)
        return _Source(footage, 1, faces=tuple(choose_faces(faces, choice)), scale=cropper.scale)
    framings, num_frames = frame_clip(until(should_stop, footage.frames()), cropper, choice)
    if not framings:
        raise NoFaceError("source", footage.path)
    return _Source(footage, num_frames, squares=tuple(framing.square for framing in framings))


def _aim(
    animator: Animator,
    source: _Source,
    number: int,
    driving: Driving,
    first: Float32[np.ndarray, " K"],
    request: AnimationRequest,
) -> _Subject:
    """Decide one face's square and where its motion starts."""
    square = source.square(number, driving.framing, 0)
    if not is_relative(request.mode):
        return _Subject(square, None)
    if request.start == "first":
        return _Subject(square, first)
    assert driving.template is not None
    motion = driving.template.weights
    own = next(animator.motion_weights([cut(source.footage.first_frame(), square, animator.size_px)]))
    frame = nearest_frame(motion, own)
    logger.info("motion starts at frame %d of %s, counted from 0", frame, driving.name)
    return _Subject(source.square(number, driving.framing, frame), motion[frame])


def _num_frames(source: _Source, driving: Driving) -> int:
    """Return how many frames there will be, as far as is known."""
    if source.footage.is_still:
        return driving.num_frames
    return source.num_frames if driving.is_still else min(source.num_frames, driving.num_frames)


def _moments(
    source: _Source, driving: Driving, motion: Iterator[Moved], should_stop: Callable[[], bool]
) -> Iterator[_Moment]:
    """Pair the driving motion with the source's frames, where it is a video."""
    if source.footage.is_still:
        for moved in motion:
            yield _Moment(moved, None)
        return
    pictures = source.footage.frames()
    if driving.is_still:
        held = next(motion)
        for picture in until(should_stop, pictures):
            yield _Moment(held, picture)
        return
    for moved, picture in zip_longest(motion, pictures):
        if moved is None or picture is None:
            shorter = driving.name if moved is None else source.footage.path.name
            logger.warning("source and driving clip differ in length: the result ends with %s", shorter)
            return
        yield _Moment(moved, picture)


def _compose(
    animator: Animator,
    source: _Source,
    subjects: Sequence[_Subject],
    moments: Iterator[_Moment],
    request: AnimationRequest,
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the finished pictures. What the streams hold between them is never more than a batch."""
    still = source.footage.first_frame() if source.footage.is_still else None
    moments, *streams = tee(moments, 1 + len(subjects))
    results = [
        _synthesize(animator, subject, stream, still, request.batch_size)
        for subject, stream in zip(subjects, streams, strict=True)
    ]
    for moment in moments:
        images = [next(result) for result in results]
        picture = still if moment.picture is None else moment.picture
        assert picture is not None
        result = images[0]
        if request.paste_back:
            result = picture
            for subject, image in zip(subjects, images, strict=True):
                result = paste(result, image, subject.square)
        if request.side_by_side:
            assert moment.moved.view is not None
            seen = picture if request.paste_back else cut(picture, subjects[0].square, animator.size_px)
            result = side_by_side([seen, moment.moved.view, result])
        yield result


def _synthesize(
    animator: Animator,
    subject: _Subject,
    moments: Iterator[_Moment],
    still: UInt8[np.ndarray, "H W 3"] | None,
    batch_size: int,
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Yield one face's animation."""
    if still is not None:
        portrait = cut(still, subject.square, animator.size_px)
        motion = (moment.moved.weights for moment in moments)
        return animator.synthesize(portrait, motion, subject.start, batch_size)
    moments, others = tee(moments)
    motion = (moment.moved.weights for moment in moments)
    pictures = (moment.picture for moment in others if moment.picture is not None)
    portraits = (cut(picture, subject.square, animator.size_px) for picture in pictures)
    return animator.synthesize(portraits, motion, subject.start, batch_size)
