"""Which square of each picture the model sees.

Source and driving are cropped as the model's training clips were. For a model of faces that is
preprocessing's own rule (Siarohin et al. 2019, `fomm_square`): one square for all frames of a video, around
all places where its face is seen. A video is decoded once for its faces and once for its pixels, and never
held in memory. For a model trained without face detection it is the middle square.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from lia_model.animation.options import FaceChoice, OptionsConflictError
from preprocessing.clips.crop import shows_faces
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.boxes import Box, iou, middle_square, square_around, union
from preprocessing.shards.manifest import CropFacts

RULE = "fomm_square"


class NoFaceError(ValueError):
    """No face was found where one is needed.

    Args:
        role: what the file is used as, source or driving.
        path: the file.
    """

    def __init__(self, role: str, path: Path) -> None:
        super().__init__(
            f"got no face in the {role} file {path.name}; one must be visible; "
            "give another file, or leave out cropping if it is cropped already"
        )


class NoSuchFaceError(ValueError):
    """The face asked for by number is not in the picture.

    Args:
        choice: number of the face, counted from 1 at the left.
        num_faces: how many faces there are.
    """

    def __init__(self, choice: int, num_faces: int) -> None:
        super().__init__(
            f"got face {choice}, but the source shows {num_faces}; faces count from 1 at the left: "
            "ask for one that is there"
        )


@dataclass(frozen=True)
class FaceCropper:
    """How a face is found and framed; the numbers must be those of the model's training clips."""

    detector: FaceDetector
    every_num_frames: int
    """Look for the face in each k-th frame of a video."""
    scale: float
    """Side of the square over the longer side of the face's box, or of the union of a clip's boxes."""

    def find(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Box]:
        """Return the faces of a picture from left to right."""
        return sorted((face.box for face in self.detector.detect(image)), key=lambda box: box.centre)


def make_cropper(
    crop: CropFacts, open_detector: Callable[[], FaceDetector], every_num_frames: int
) -> FaceCropper | None:
    """Return how faces are cropped for a model; None if it was trained without face detection.

    Args:
        crop: how the model's training clips were cropped.
        open_detector: opens the face detector; not called without need, so that it may be missing then.
        every_num_frames: look for the face in each k-th frame of a video.

    Raises:
        ValueError: the detector is needed and missing.
    """
    return FaceCropper(open_detector(), every_num_frames, crop.scale) if shows_faces(crop.rule) else None


def square_of(image: UInt8[np.ndarray, "H W 3"], asked_for: Box | None) -> Box:
    """Return the square that was asked for; without one, the largest in the middle of the picture.

    Raises:
        OptionsConflictError: it lies wholly outside the picture.
    """
    height, width = image.shape[:2]
    if asked_for is None:
        return middle_square((width, height))
    if iou(asked_for, Box(0, 0, width, height)) == 0:
        raise OptionsConflictError(
            f"got a square at {asked_for.left:g}:{asked_for.top:g}, outside the picture of {width}x{height} "
            "px: choose one that shows the face"
        )
    return asked_for


class FacePosition(NamedTuple):
    """Where a face stood in one frame."""

    frame: int
    box: Box


@dataclass(frozen=True)
class Framing:
    """A clip's square, and how its face stands in it."""

    square: Box
    positions: tuple[FacePosition, ...]

    def around(self, face: Box, start: int = 0) -> Box:
        """Return the square that stands to another picture's `face` as this one does to its own.

        So the source's face is as large and stands where the driving face does in the frame `start`, from
        which motion is counted. A square of its own would show it larger than training clips do, whose square
        has room for all of their motion.
        """
        own = min(self.positions, key=lambda position: abs(position.frame - start)).box
        scale = max(face.width, face.height) / max(own.width, own.height)
        x, y = (
            there + (whole - here) * scale
            for there, whole, here in zip(face.centre, self.square.centre, own.centre, strict=True)
        )
        half = self.square.width * scale / 2
        return Box(x - half, y - half, x + half, y + half)


def choose_faces(faces: Sequence[Box], choice: FaceChoice) -> list[Box]:
    """Return the chosen faces of a picture, given from left to right.

    Raises:
        NoSuchFaceError: there are fewer faces than the number asked for.
    """
    if choice == "all":
        return list(faces)
    if choice == "largest":
        return [max(faces, key=lambda box: box.width * box.height)]
    if not 1 <= choice <= len(faces):
        raise NoSuchFaceError(choice, len(faces))
    return [faces[choice - 1]]


def frame_clip(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], cropper: FaceCropper, choice: FaceChoice
) -> tuple[list[Framing], int]:
    """Return a framing for each chosen face of a clip, none where it shows no face, and the number of frames.

    Raises:
        NoSuchFaceError: there are fewer faces than the number asked for.
    """
    num_frames = 0

    def look() -> Iterator[tuple[int, list[Box]]]:
        nonlocal num_frames
        for number, image in enumerate(frames):
            num_frames = number + 1
            if number % cropper.every_num_frames == 0:
                yield number, cropper.find(image)

    framings = [framing_of(track, cropper.scale) for track in follow_faces(look(), choice)]
    return framings, num_frames


def follow_faces(found: Iterable[tuple[int, list[Box]]], choice: FaceChoice) -> list[list[FacePosition]]:
    """Return where each chosen face was seen, none where no frame shows a face.

    The choice is made in the first frame that shows one. A face is followed by overlap: a face that does not
    touch its last box is another person.

    Args:
        found: frame numbers and the faces in those frames, from left to right.
        choice: which of them.

    Raises:
        NoSuchFaceError: there are fewer faces in that frame than the number asked for.
    """
    tracks: list[list[FacePosition]] = []
    for number, faces in found:
        if faces and not tracks:
            tracks = [[FacePosition(number, box)] for box in choose_faces(faces, choice)]
            continue
        for track in tracks:
            last = track[-1].box
            overlaps = [iou(box, last) for box in faces]
            if overlaps and max(overlaps) > 0:
                track.append(FacePosition(number, faces[overlaps.index(max(overlaps))]))
    return tracks


def framing_of(track: Sequence[FacePosition], scale: float) -> Framing:
    """Return the square around all positions of one face, `scale` times as wide as their union."""
    boxes = np.array([position.box for position in track], dtype=np.float64)
    return Framing(square_around(union(boxes), scale), tuple(track))
