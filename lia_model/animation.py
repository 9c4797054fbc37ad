"""From files to a file: decode, crop, animate, encode. Used by the command line and by the service.

Source and driving are cropped by preprocessing's own rule (Siarohin et al. 2019, `fomm_square`), so that
the model sees faces as it saw them in training. One square has to fit all frames of a driving video, so it is
read twice, once for its faces and once for its pixels, and never held whole.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from lia_model.animator import Animator
from lia_model.media import UnreadableMediaError, first_picture, require_media
from preprocessing.boxes import Box, iou, square_around, union
from preprocessing.crop import cut
from preprocessing.detect import Face, FaceDetector
from preprocessing.video import UnreadableVideo, VideoWriter, decode, probe, read_image

logger = logging.getLogger(__name__)

STILL_FPS = Fraction(25)
"""Rate of the one-frame video that a driving image gives."""


class NoFaceError(ValueError):
    """No face was found where one is needed."""


class StoppedError(Exception):
    """The caller asked to stop."""


@dataclass(frozen=True)
class FaceCropper:
    """How a face is found and framed; the numbers must be those of the model's training clips."""

    detector: FaceDetector
    every_num_frames: int
    """Look for the face in each k-th driving frame."""
    scale: float
    """Side of the square over the longer side of the face's box, or of the union of a clip's boxes."""


@dataclass(frozen=True)
class AnimationRequest:
    """One animation."""

    source: Path
    """Portrait: an image, or a video of which the first frame is taken."""
    driving: Path
    """Whose motion: a video, or an image for a video of one frame."""
    output: Path
    """The mp4 to write; an older one is replaced when the new one is complete."""
    mode: Literal["relative", "absolute"] = "relative"
    """Motion relative to the first driving frame, or absolute."""
    batch_size: int = 16
    """Driving frames a forward pass."""


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

    Args:
        animator: the model.
        cropper: finds the faces; None takes the largest square in the middle of both pictures.
        request: what to animate.
        progress: called with the frames done and the frames in all, after each.
        should_stop: asked before each frame.

    Raises:
        NoFaceError: the source, or the whole driving clip, shows no face.
        UnreadableMediaError: one of the files is neither an image nor a video, or breaks off.
        StoppedError: `should_stop` said so; nothing was written.
    """
    source = first_picture(request.source)
    driving = _read_driving(request.driving)
    if driving.is_still and request.mode == "relative":
        logger.warning(
            "%s is one image: relative to itself it does not move, the result is the source's own pose; "
            "use mode absolute to take its pose",
            request.driving.name,
        )
    progress(0, driving.num_frames)
    source_face = _source_face(source, request.source, cropper)
    try:
        framing, num_frames = _driving_framing(driving, cropper, should_stop)
        source_box = _middle_square(source) if source_face is None else framing.around(source_face)
        frames = _cut_all(driving.frames(), framing.square, animator.size_px, should_stop)
        portrait = cut(source, source_box, animator.size_px)
        done = 0
        size = (animator.size_px, animator.size_px)
        with VideoWriter(
            request.output, driving.fps, size, None if driving.is_still else driving.path
        ) as video:
            for image in animator.animate(portrait, frames, request.mode, request.batch_size):
                video.write(image)
                done += 1
                progress(done, max(done, num_frames))
    except UnreadableVideo as error:
        raise UnreadableMediaError(str(error)) from error
    return AnimationResult(done, driving.fps)


@dataclass(frozen=True)
class Framing:
    """How a driving clip's square stands to the face of its first frame."""

    square: Box
    face: Box

    def around(self, face: Box) -> Box:
        """Return the square that stands to another picture's `face` as this one does to its own.

        So the source's face is as large and stands where the driving face does when it begins; a square of
        its own would show it larger than training clips do, whose square has room for all of their motion.
        """
        scale = max(face.width, face.height) / max(self.face.width, self.face.height)
        x, y = (
            own + (whole - first) * scale
            for own, whole, first in zip(face.centre, self.square.centre, self.face.centre, strict=True)
        )
        half = self.square.width * scale / 2
        return Box(x - half, y - half, x + half, y + half)


@dataclass(frozen=True)
class _Driving:
    path: Path
    is_still: bool
    fps: Fraction
    num_frames: int
    """As its header says; only decoding tells."""

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Decode from the start."""
        if self.is_still:
            yield read_image(self.path)
        else:
            for frame in decode(self.path):
                yield frame.image


def _read_driving(path: Path) -> _Driving:
    if require_media(path) == "image":
        return _Driving(path, True, STILL_FPS, 1)
    info = probe(path)
    return _Driving(path, False, info.fps, info.num_frames)


def _source_face(image: UInt8[np.ndarray, "H W 3"], path: Path, cropper: FaceCropper | None) -> Box | None:
    if cropper is None:
        return None
    faces = cropper.detector.detect(image)
    if not faces:
        raise _no_face("source", path)
    return _largest(faces)


def _driving_framing(
    driving: _Driving, cropper: FaceCropper | None, should_stop: Callable[[], bool]
) -> tuple[Framing, int]:
    """Return one square for the whole clip and how many frames it has, the latter as far as is known."""
    if cropper is None:
        middle = _middle_square(next(driving.frames()))
        return Framing(middle, middle), driving.num_frames
    boxes: list[Box] = []
    num_frames = 0
    for image in driving.frames():
        if should_stop():
            raise StoppedError
        if num_frames % cropper.every_num_frames == 0:
            boxes.extend(_same_face(cropper.detector.detect(image), boxes))
        num_frames += 1
    if not boxes:
        raise _no_face("driving", driving.path)
    square = square_around(union(np.array(boxes, dtype=np.float64)), cropper.scale)
    return Framing(square, boxes[0]), num_frames


def _same_face(faces: list[Face], boxes: list[Box]) -> list[Box]:
    """Return the box that continues `boxes`, or none: first the largest, then what overlaps the last one."""
    if not faces or not boxes:
        return [_largest(faces)] if faces else []
    best = max((face.box for face in faces), key=lambda box: iou(box, boxes[-1]))
    return [best] if iou(best, boxes[-1]) > 0 else []


def _cut_all(
    images: Iterable[UInt8[np.ndarray, "H W 3"]], box: Box, size_px: int, should_stop: Callable[[], bool]
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    for image in images:
        if should_stop():
            raise StoppedError
        yield cut(image, box, size_px)


def _largest(faces: list[Face]) -> Box:
    return max((face.box for face in faces), key=lambda box: box.width * box.height)


def _middle_square(image: UInt8[np.ndarray, "H W 3"]) -> Box:
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def _no_face(role: str, path: Path) -> NoFaceError:
    return NoFaceError(
        f"got no face in the {role} file {path.name}; one must be visible; "
        "give another file, or leave out cropping if it is cropped already"
    )
