"""From files to a file: decode, crop, animate, compose, encode. Used by the command line and the service.

A driving video, image or motion file moves a photo, or a video frame by frame. Everything streams: a video is
read once for its faces, once more for its pixels, and with `start="best"` once for its motion weights alone.
Axes: T frames, K directions, S side of the network's images.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, repeat, tee, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from lia_model.animator import Animator, is_relative, nearest_frame
from lia_model.compositing import paste, side_by_side
from lia_model.framing import (
    FaceChoice,
    FaceCropper,
    Framing,
    NoFaceError,
    choose_faces,
    frame_clip,
    middle_square,
)
from lia_model.media import Footage, open_footage
from lia_model.motion_template import MotionTemplate, is_motion_file, read_template
from preprocessing.boxes import Box, square_around
from preprocessing.crop import cut
from preprocessing.video import VideoWriter

logger = logging.getLogger(__name__)

T = TypeVar("T")


class StoppedError(Exception):
    """The caller asked to stop."""


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
    footage = open_footage(request.source, request.convert)
    driving = _open_driving(animator, request)
    _warn(request, footage, driving)
    led_by = footage if driving.is_still and not footage.is_still else driving
    progress(0, led_by.num_frames)
    source = _find_source(footage, cropper, request.face, should_stop)
    driving = _frame_driving(driving, cropper, should_stop)
    scene = _plan(animator, source, driving, request, should_stop)
    total = scene.num_frames
    pictures = _compose(animator, scene, request)
    done = 0
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    with VideoWriter(request.output, led_by.fps, size, led_by.sound) as video:
        for picture in chain([first], pictures):
            video.write(picture)
            done += 1
            progress(done, max(done, total))
    return AnimationResult(done, led_by.fps)


def extract_motion(
    animator: Animator,
    cropper: FaceCropper | None,
    driving: Path,
    batch_size: int = 16,
    convert: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> MotionTemplate:
    """Return the driving clip's motion, with which `animate_file` does what it does with the clip itself.

    Args:
        animator: the model.
        cropper: finds the face; None takes the largest square in the middle.
        driving: a video or an image.
        batch_size: frames a forward pass.
        convert: make an image upright 8-bit RGB where it is not; False refuses it.
        should_stop: asked before each frame.

    Raises:
        NoFaceError: the whole clip shows no face.
        UnreadableMediaError: the file cannot be used, or breaks off.
        StoppedError: `should_stop` said so.
    """
    footage = open_footage(driving, convert)
    clip = _frame_driving(_Driving.of_footage(footage), cropper, should_stop)
    return _collect(animator, clip, batch_size, should_stop)


@dataclass(frozen=True)
class _Driving:
    """Where the motion comes from: footage, a template, or footage whose weights are known already."""

    name: str
    num_frames: int
    fps: Fraction
    is_still: bool
    footage: Footage | None = None
    template: MotionTemplate | None = None
    square: Box | None = None
    """What of the footage is seen."""
    framing: Framing | None = None
    """How the face stands in the square; None without cropping."""

    @classmethod
    def of_footage(cls, footage: Footage) -> "_Driving":
        return cls(footage.path.name, footage.num_frames, footage.fps, footage.is_still, footage=footage)

    @property
    def sound(self) -> Path | None:
        return None if self.footage is None else self.footage.sound

    def views(self, size_px: int, should_stop: Callable[[], bool]) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield the frames as the model sees them."""
        assert self.footage is not None
        assert self.square is not None
        for image in _until(should_stop, self.footage.frames()):
            yield cut(image, self.square, size_px)


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

    def square(self, number: int, framing: Framing | None, start: int) -> Box:
        """Return the square of one of the faces; `start` is the driving frame that motion is counted from."""
        if self.squares:
            return self.squares[number]
        face = self.faces[number]
        return square_around(face, self.scale) if framing is None else framing.around(face, start)


@dataclass(frozen=True)
class _Scene:
    """All that has been found out before the frames are made."""

    source: _Source
    driving: _Driving
    squares: tuple[Box, ...]
    """Of the source, one for each face."""
    starts: tuple[Float32[np.ndarray, " K"] | None, ...]
    """For each face, the weights that its motion is counted from; None for absolute motion."""
    moments: Iterator["_Moment"]
    num_frames: int
    """As far as is known."""


class _Moment(NamedTuple):
    """What makes one frame."""

    weights: Float32[np.ndarray, " K"]
    driving: UInt8[np.ndarray, "S S 3"] | None
    """The driving frame as the model sees it, where it is shown."""
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


def _open_driving(animator: Animator, request: AnimationRequest) -> _Driving:
    if not is_motion_file(request.driving):
        return _Driving.of_footage(open_footage(request.driving, request.convert))
    template = read_template(request.driving, animator.fingerprint)
    name, count = request.driving.name, len(template.weights)
    return _Driving(name, count, template.fps, template.is_still, None, template, None, template.framing)


def _warn(request: AnimationRequest, source: Footage, driving: _Driving) -> None:
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
    framings, num_frames = frame_clip(_until(should_stop, footage.frames()), cropper, choice)
    if not framings:
        raise NoFaceError("source", footage.path)
    return _Source(footage, num_frames, squares=tuple(framing.square for framing in framings))


def _frame_driving(
    driving: _Driving, cropper: FaceCropper | None, should_stop: Callable[[], bool]
) -> _Driving:
    """Return the driving clip with its square; a motion file has none, but brings its framing along."""
    if driving.footage is None:
        return driving
    if cropper is None:
        return replace(driving, square=middle_square(driving.footage.first_frame()))
    framings, num_frames = frame_clip(_until(should_stop, driving.footage.frames()), cropper, "largest")
    if not framings:
        raise NoFaceError("driving", driving.footage.path)
    return replace(driving, square=framings[0].square, framing=framings[0], num_frames=num_frames)


def _collect(
    animator: Animator, driving: _Driving, batch_size: int, should_stop: Callable[[], bool]
) -> MotionTemplate:
    """Read the whole clip for its weights alone: K numbers a frame."""
    views = driving.views(animator.size_px, should_stop)
    weights = np.stack(list(animator.motion_weights(views, batch_size)))
    return MotionTemplate(weights, driving.fps, driving.is_still, animator.fingerprint, driving.framing)


def _plan(
    animator: Animator,
    source: _Source,
    driving: _Driving,
    request: AnimationRequest,
    should_stop: Callable[[], bool],
) -> _Scene:
    """Decide the squares and where motion starts, and open the stream of moments."""
    relative = is_relative(request.mode)
    best = relative and request.start == "best"
    if best and driving.template is None:
        driving = replace(driving, template=_collect(animator, driving, request.batch_size, should_stop))
    motion = _motion(animator, driving, request, should_stop)
    first = next(motion)
    numbers = range(len(source.squares or source.faces))
    frames = [0 for _ in numbers]
    starts = [first[0] if relative else None for _ in numbers]
    if best and driving.template is not None:
        image = source.footage.first_frame()
        for number in numbers:
            view = cut(image, source.square(number, driving.framing, 0), animator.size_px)
            own = next(animator.motion_weights([view]))
            frames[number] = nearest_frame(driving.template.weights, own)
            starts[number] = driving.template.weights[frames[number]]
            logger.info("motion starts at frame %d of %s", frames[number], driving.name)
    squares = tuple(source.square(number, driving.framing, frames[number]) for number in numbers)
    moments = _moments(source, driving, chain([first], motion), should_stop)
    lengths = [source.num_frames] * (not source.footage.is_still)
    lengths += [driving.num_frames] * (source.footage.is_still or not driving.is_still)
    return _Scene(source, driving, squares, tuple(starts), moments, min(lengths))


def _motion(
    animator: Animator, driving: _Driving, request: AnimationRequest, should_stop: Callable[[], bool]
) -> Iterator[tuple[Float32[np.ndarray, " K"], UInt8[np.ndarray, "S S 3"] | None]]:
    """Yield each driving frame's weights, and its picture where it is shown."""
    if driving.template is not None:
        weights = iter(driving.template.weights)
        if not request.side_by_side:
            return zip(_until(should_stop, weights), repeat(None), strict=False)
        return zip(weights, driving.views(animator.size_px, should_stop), strict=False)
    seen = driving.views(animator.size_px, should_stop)
    if not request.side_by_side:
        return zip(animator.motion_weights(seen, request.batch_size), repeat(None), strict=False)
    seen, shown = tee(seen)
    return zip(animator.motion_weights(seen, request.batch_size), shown, strict=False)


def _moments(
    source: _Source,
    driving: _Driving,
    motion: Iterator[tuple[Float32[np.ndarray, " K"], UInt8[np.ndarray, "S S 3"] | None]],
    should_stop: Callable[[], bool],
) -> Iterator[_Moment]:
    """Pair the driving motion with the source's frames, where it is a video."""
    if source.footage.is_still:
        for weights, view in motion:
            yield _Moment(weights, view, None)
        return
    pictures = source.footage.frames()
    if driving.is_still:
        weights, view = next(motion)
        for picture in _until(should_stop, pictures):
            yield _Moment(weights, view, picture)
        return
    for moved, picture in zip_longest(motion, pictures):
        if moved is None or picture is None:
            shorter = driving.name if moved is None else source.footage.path.name
            logger.warning("source and driving clip differ in length: the result ends with %s", shorter)
            return
        weights, view = moved
        yield _Moment(weights, view, picture)


def _compose(
    animator: Animator, scene: _Scene, request: AnimationRequest
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the finished pictures. What the streams hold between them is never more than a batch."""
    still = scene.source.footage.first_frame() if scene.source.footage.is_still else None
    moments, *streams = tee(scene.moments, 1 + len(scene.squares))
    results = [
        _results(animator, stream, square, start, still, request.batch_size)
        for stream, square, start in zip(streams, scene.squares, scene.starts, strict=True)
    ]
    for moment in moments:
        picture = still if moment.picture is None else moment.picture
        assert picture is not None
        images = [next(result) for result in results]
        if request.paste_back:
            shown = result = picture
            for image, square in zip(images, scene.squares, strict=True):
                result = paste(result, image, square)
        else:
            shown, result = cut(picture, scene.squares[0], animator.size_px), images[0]
        if request.side_by_side:
            assert moment.driving is not None
            result = side_by_side([shown, moment.driving, result])
        yield result


def _results(
    animator: Animator,
    moments: Iterator[_Moment],
    square: Box,
    start: Float32[np.ndarray, " K"] | None,
    still: UInt8[np.ndarray, "H W 3"] | None,
    batch_size: int,
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Yield one face's animation."""
    if still is not None:
        source = cut(still, square, animator.size_px)
        return animator.synthesize(source, (moment.weights for moment in moments), start, batch_size)
    moments, others = tee(moments)
    views = (
        cut(moment.picture, square, animator.size_px) for moment in moments if moment.picture is not None
    )
    return animator.synthesize(views, (moment.weights for moment in others), start, batch_size)


def _until(should_stop: Callable[[], bool], items: Iterable[T]) -> Iterator[T]:
    for item in items:
        if should_stop():
            raise StoppedError
        yield item
