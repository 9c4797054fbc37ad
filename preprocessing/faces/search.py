"""Search for faces in one pass over a source's frames: detect, measure, track, embed, make thumbnails."""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from preprocessing.faces.appearance import measure_appearance
from preprocessing.faces.detector import Face
from preprocessing.faces.miniatures import MiniatureMaker
from preprocessing.faces.sightings import Embedding, Sighting, Sightings
from preprocessing.faces.sparse_detection import AnalysedFrame, Detector, detect_sparsely
from preprocessing.faces.tracks import Tracker
from preprocessing.media.boxes import Box, iou, square_around
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.images import Image, cut, encode_jpeg
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.settings import DetectSettings

THUMBNAIL_PX = 96
"""Side of a face's thumbnail."""
THUMBNAIL_SCALE = 1.5
"""Side of the square that a thumbnail shows, over the face's longer side."""
THUMBNAIL_QUALITY = 80
"""JPEG quality of thumbnails and stills."""
THUMBNAIL_EVERY = 16
"""A tracked face gets a thumbnail at least once in this many sightings."""
STILL_PX = 240
"""Width of the picture of a whole frame."""

Recognizer = Callable[[Image, Face], Embedding]
"""Returns the identity embedding of one face of an image."""


def find_sightings(
    frames: Iterable[NumberedFrame],
    detector: Detector,
    recognizer: Recognizer | None,
    settings: DetectSettings,
    tracker: Tracker,
) -> Sightings:
    """Find the faces of a video, or of a part of it, in one pass.

    Args:
        frames: consecutive frames.
        detector: finds the faces of one image.
        recognizer: embeds the faces that `tracker` selects; None embeds none.
        settings: which frames are analysed.
        tracker: a new one; it only selects the faces that get an embedding or a thumbnail.

    Raises:
        UnreadableVideoError: `frames` is empty.
    """
    numbers: list[int] = []
    faces: list[list[Sighting]] = []
    cuts: list[int] = []
    frame_size = (0, 0)
    still_image = b""
    times_s: list[float] = []
    miniatures = MiniatureMaker()

    def take(frame: NumberedFrame) -> NumberedFrame:
        times_s.append(frame.pts_s)
        miniatures.add(frame)
        return frame

    for analysed in detect_sparsely(map(take, frames), detector, settings):
        if analysed.starts_scene:
            cuts.append(analysed.number)
            tracker.cut()
        faces.append(_sight(analysed, recognizer, tracker))
        numbers.append(analysed.number)
        frame_size = (analysed.image.shape[1], analysed.image.shape[0])
        if _is_power_of_two(len(numbers)):
            # The last one kept lies in the second half of the analysed frames.
            still_image = make_still(analysed.image)
    if not numbers:
        raise UnreadableVideoError(
            "got no frame between start_s and end_s; times inside the video are needed; correct the row"
        )
    return Sightings(numbers[0], times_s, frame_size, numbers, faces, cuts, still_image, miniatures.finish())


def _sight(analysed: AnalysedFrame, recognizer: Recognizer | None, tracker: Tracker) -> list[Sighting]:
    """Return the sightings of one frame, with embeddings and thumbnails where they are due."""
    number, image, faces, _ = analysed
    sightings = [
        Sighting(face.box, face.points, face.score, measure_appearance(image, face.box), None)
        for face in faces
    ]
    if recognizer is not None:
        due = tracker.needs_embedding(number, sightings)
        sightings = _embed(image, faces, sightings, due, recognizer)
    counts = tracker.update(number, sightings)
    return [
        sighting._replace(thumbnail=_thumbnail(image, sighting.box)) if _gets_thumbnail(count) else sighting
        for sighting, count in zip(sightings, counts, strict=True)
    ]


def _embed(
    image: Image,
    faces: Sequence[Face],
    sightings: Sequence[Sighting],
    due: Sequence[bool],
    recognizer: Recognizer,
) -> list[Sighting]:
    return [
        sighting._replace(embedding=recognizer(image, face)) if is_due else sighting
        for sighting, face, is_due in zip(sightings, faces, due, strict=True)
    ]


def _gets_thumbnail(count: int) -> bool:
    """Return whether a track's `count`-th sighting gets a thumbnail: often at first, then regularly."""
    return _is_power_of_two(count) or count % THUMBNAIL_EVERY == 0


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _thumbnail(image: Image, box: Box) -> bytes | None:
    """Return a small JPEG of the surroundings of a box; None if they lie outside the image."""
    height, width = image.shape[:2]
    square = square_around(box, THUMBNAIL_SCALE)
    if not iou(square, Box(0, 0, width, height)):
        return None
    return encode_jpeg(cut(image, square, THUMBNAIL_PX), THUMBNAIL_QUALITY)


def make_still(image: Image) -> bytes:
    """Return a whole frame as a small JPEG file, which shows a source without candidates."""
    height, width = image.shape[:2]
    size = (STILL_PX, max(1, round(STILL_PX * height / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.asarray(small, dtype=np.uint8), THUMBNAIL_QUALITY)
