"""Where motion comes from: a video, an image, or a motion file, opened and framed.

A clip is read once for its face and once for its pixels; with a motion file, or where the weights have been
collected beforehand, only to be shown.
Axes: K directions, S side of the network's images.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat, tee
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from lia_model.animation.footage import Footage, open_footage
from lia_model.animation.framing import FaceCropper, Framing, NoFaceError, frame_clip, middle_square
from lia_model.animation.motion_file import Motion, is_motion_file, read_motion
from lia_model.animation.prefetch import ahead
from lia_model.animator import Animator
from preprocessing.media.boxes import Box
from preprocessing.media.images import cut

T = TypeVar("T")


class StoppedError(Exception):
    """The caller asked to stop."""


class Moved(NamedTuple):
    """One driving frame."""

    weights: Float32[np.ndarray, " K"]
    view: UInt8[np.ndarray, "S S 3"] | None
    """The frame as the model sees it, where it is to be shown."""


@dataclass(frozen=True)
class Driving:
    """Footage, a template, or footage whose weights are known already."""

    name: str
    num_frames: int
    """As far as is known."""
    fps: Fraction
    is_still: bool
    """Whether it is one image, whose pose holds for any number of frames."""
    footage: Footage | None
    template: Motion | None
    square: Box | None
    """What of the footage is seen; None before it is framed, and for a motion file."""
    framing: Framing | None
    """How the face stands in the square; None without cropping."""

    @property
    def sound(self) -> Path | None:
        """Where its sound is; a motion file has none."""
        return None if self.footage is None else self.footage.sound

    def framed(self, cropper: FaceCropper | None, should_stop: Callable[[], bool]) -> "Driving":
        """Return it with its square; a motion file has none, but brings its framing along.

        Raises:
            NoFaceError: the whole clip shows no face.
            UnreadableMediaError: it breaks off.
            StoppedError: `should_stop` said so.
        """
        if self.footage is None:
            return self
        if cropper is None:
            return replace(self, square=middle_square(self.footage.first_frame()))
        framings, num_frames = frame_clip(until(should_stop, self.footage.frames()), cropper, "largest")
        if not framings:
            raise NoFaceError("driving", self.footage.path)
        return replace(self, square=framings[0].square, framing=framings[0], num_frames=num_frames)

    def collected(self, animator: Animator, batch_size: int, should_stop: Callable[[], bool]) -> "Driving":
        """Return it with all its weights, K numbers a frame, read beforehand if they are not known."""
        if self.template is not None:
            return self
        views = ahead(self._views(animator.size_px, should_stop), 2 * batch_size)
        weights = np.stack(list(animator.motion_weights(views, batch_size)))
        template = Motion(weights, self.fps, self.is_still, animator.fingerprint, self.framing)
        return replace(self, template=template)

    def motion(
        self, animator: Animator, batch_size: int, with_views: bool, should_stop: Callable[[], bool]
    ) -> Iterator[Moved]:
        """Yield the frames' weights, with their pictures where these are to be shown."""
        views = shown = None
        if self.template is None:
            # Decoding goes on while the model computes.
            views = ahead(self._views(animator.size_px, should_stop), 2 * batch_size)
            if with_views:
                views, shown = tee(views)
            weights = animator.motion_weights(views, batch_size)
        else:
            weights = until(should_stop, self.template.weights)
            if with_views:
                shown = self._views(animator.size_px, lambda: False)
        return map(Moved, weights, repeat(None) if shown is None else shown)

    def _views(self, size_px: int, should_stop: Callable[[], bool]) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        assert self.footage is not None
        assert self.square is not None
        for image in until(should_stop, self.footage.frames()):
            yield cut(image, self.square, size_px)


def open_driving(path: Path, animator: Animator, convert: bool, hardware: bool = False) -> Driving:
    """Open what gives the motion.

    Raises:
        UnreadableMediaError: it is neither image, video nor motion file, or a motion file of another model.
    """
    if is_motion_file(path):
        template = read_motion(path, animator.fingerprint)
        count, framing = len(template.weights), template.framing
        return Driving(path.name, count, template.fps, template.is_still, None, template, None, framing)
    footage = open_footage(path, convert, hardware)
    return Driving(
        path.name, footage.num_frames, footage.fps, footage.is_still, footage, None, square=None, framing=None
    )


def extract_motion(
    animator: Animator,
    cropper: FaceCropper | None,
    path: Path,
    batch_size: int = 16,
    convert: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Motion:
    """Return a clip's motion, which drives as the clip itself does.

    Args:
        animator: the model.
        cropper: finds the face; None takes the largest square in the middle.
        path: a video or an image; a motion file comes back as it is.
        batch_size: frames a forward pass.
        convert: make an image upright 8-bit RGB where it is not; False refuses it.
        should_stop: asked before each frame.

    Raises:
        NoFaceError: the whole clip shows no face.
        UnreadableMediaError: the file cannot be used, or breaks off.
        StoppedError: `should_stop` said so.
    """
    driving = open_driving(path, animator, convert).framed(cropper, should_stop)
    template = driving.collected(animator, batch_size, should_stop).template
    assert template is not None
    return template


def until(should_stop: Callable[[], bool], items: Iterable[T]) -> Iterator[T]:
    """Yield the items, asking before each.

    Raises:
        StoppedError: `should_stop` said so.
    """
    for item in items:
        if should_stop():
            raise StoppedError
        yield item
