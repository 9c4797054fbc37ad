"""One pass over a source's frames: where its faces are, how they look and whose they are.

Faces are looked for in every k-th frame, at both ends of the part and on both sides of a scene cut; where two
neighbouring analysed frames disagree, in the middle between them, again and again, so that straight lines
between sightings follow every face. No more than k frames are in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from preprocessing.faces.appearance import measure
from preprocessing.faces.detector import Face
from preprocessing.faces.scenes import CutDetector
from preprocessing.faces.sightings import Embedding, Sighting, Sightings
from preprocessing.faces.tracks import Tracker
from preprocessing.media.boxes import Box, iou, square_around
from preprocessing.media.images import Image, cut, encode_jpeg
from preprocessing.media.video_reader import Frame, UnreadableVideoError
from preprocessing.settings import DetectSettings

SAME_IOU = 0.3
"""Least overlap for two faces in neighbouring analysed frames to be taken for one."""
CLOSEST_NUM_FRAMES = 2
"""Analysed frames at most this far apart are not looked between."""
PICTURE_PX, PICTURE_QUALITY, PICTURE_SCALE = 96, 80, 1.5
"""Side of the pictures for people, and that of what they show over the face's longer side."""
STILL_PX = 240
"""Width of the picture of a whole frame."""


@runtime_checkable
class Detector(Protocol):
    """Finds faces, or whatever boxes the crop is made around, in a uint8 RGB [H, W, 3] image."""

    def detect(self, image: Image) -> list[Face]:
        """Return the faces, surest first."""
        ...


class FixedBox:
    """The same box in every frame, for data whose boxes are known: no face is looked for.

    Args:
        locate: returns the box for a frame of (width, height).
    """

    def __init__(self, locate: Callable[[tuple[int, int]], Box]) -> None:
        """Keep the rule."""
        self._locate = locate

    def detect(self, image: Image) -> list[Face]:
        """Return the one box, with score 1 and without points."""
        height, width = image.shape[:2]
        return [Face(self._locate((width, height)), np.full((5, 2), np.nan), 1.0)]


Recognizer = Callable[[Image, Face], Embedding]
"""Embeds one face; None in its place where identities are not wanted."""


class _Analysis:
    """The state of one pass."""

    def __init__(
        self, detector: Detector, recognizer: Recognizer | None, settings: DetectSettings, tracker: Tracker
    ) -> None:
        self.detector = detector
        self.recognizer = recognizer
        self.settings = settings
        self.tracker = tracker
        self.frames: list[int] = []
        self.faces: list[list[Sighting]] = []
        self.still = b""

    def between(self, images: Sequence[Image], low: int, high: int, found: dict[int, list[Face]]) -> None:
        """Look between two analysed frames of `images` while what they show disagrees; adds to `found`."""
        if high - low <= CLOSEST_NUM_FRAMES or agree(found[low], found[high], self.settings.recheck_iou):
            return
        middle = (low + high) // 2
        found[middle] = self.detector.detect(images[middle])
        share = (middle - low) / (high - low)
        if not lies_between(found[low], found[middle], found[high], share, self.settings.recheck_iou):
            self.between(images, low, middle, found)
            self.between(images, middle, high, found)

    def record(self, number: int, image: Image, faces: Sequence[Face]) -> None:
        """Measure the faces of one analysed frame; frames come in order."""
        sightings = [
            Sighting(face.box, face.points, face.score, measure(image, face.box), None) for face in faces
        ]
        if self.recognizer is not None:
            due = self.tracker.needs_embedding(number, sightings)
            sightings = [
                sighting._replace(embedding=self.recognizer(image, face)) if is_due else sighting
                for sighting, face, is_due in zip(sightings, faces, due, strict=True)
            ]
        counts = self.tracker.update(number, sightings)
        self.faces.append(
            [
                sighting._replace(picture=picture(image, sighting.box)) if is_pictured(count) else sighting
                for sighting, count in zip(sightings, counts, strict=True)
            ]
        )
        self.frames.append(number)
        if is_power_of_two(len(self.frames)):
            # The last one stays, so that it comes from the second half.
            self.still = still(image)


def analyse(
    frames: Iterator[tuple[int, Frame]],
    detector: Detector,
    recognizer: Recognizer | None,
    settings: DetectSettings,
    tracker: Tracker,
) -> Sightings:
    """Look at a part of a video, once and in order.

    Args:
        frames: consecutive numbers and frames.
        detector: finds faces.
        recognizer: embeds those that `tracker` asks for.
        settings: how often to look.
        tracker: fresh; decides whom to embed.

    Raises:
        UnreadableVideoError: there are no frames.
    """
    state = _Analysis(detector, recognizer, settings, tracker)
    scenes = CutDetector()
    cuts: list[int] = []
    # Frames since the last analysed one, which is the first of them.
    waiting: list[tuple[int, Image]] = []
    at_start: list[Face] = []
    first: int | None = None
    for number, frame in frames:
        is_new_scene = scenes.is_cut(frame.image)
        if first is None or is_new_scene:
            if waiting:
                _finish(state, waiting, at_start)
                cuts.append(number)
                tracker.cut()
            first = number if first is None else first
            at_start = state.detector.detect(frame.image)
            state.record(number, frame.image, at_start)
            waiting = [(number, frame.image)]
            continue
        waiting.append((number, frame.image))
        if number - waiting[0][0] == settings.every_num_frames:
            at_start = _finish(state, waiting, at_start)
            waiting = waiting[-1:]
    if first is None:
        raise UnreadableVideoError(
            "got no frame between start_s and end_s; times inside the video are needed"
        )
    last, image = waiting[-1]
    _finish(state, waiting, at_start)
    height, width = image.shape[:2]
    num_frames = last - first + 1
    return Sightings(first, num_frames, (width, height), state.frames, state.faces, cuts, state.still)


def agree(first: Sequence[Face], second: Sequence[Face], least_iou: float) -> bool:
    """Tell whether two frames show the same faces in nearly the same places."""
    pairs = _pairs(first, second)
    is_complete = len(pairs) == len(first) == len(second)
    return is_complete and all(iou(one.box, other.box) >= least_iou for one, other in pairs)


def lies_between(
    low: Sequence[Face], middle: Sequence[Face], high: Sequence[Face], share: float, least_iou: float
) -> bool:
    """Tell whether both ends show the same faces, and the middle has them where straight lines do."""
    pairs = _pairs(low, high)
    if not len(pairs) == len(low) == len(high):
        return False
    expected = [
        Face(
            Box(*(a + share * (b - a) for a, b in zip(one.box, other.box, strict=True))),
            one.points,
            one.score,
        )
        for one, other in pairs
    ]
    return agree(expected, middle, least_iou)


def is_pictured(count: int) -> bool:
    """Tell whether a face is pictured when it is seen for this time: often at first, then now and then."""
    return is_power_of_two(count) or count % 16 == 0


def is_power_of_two(number: int) -> bool:
    """Tell whether a positive number is one."""
    return number & (number - 1) == 0


def picture(image: Image, box: Box) -> bytes | None:
    """Return a small JPEG of what is around a box; None where that lies outside the image."""
    height, width = image.shape[:2]
    square = square_around(box, PICTURE_SCALE)
    if not iou(square, Box(0, 0, width, height)):
        return None
    return encode_jpeg(cut(image, square, PICTURE_PX), PICTURE_QUALITY)


def still(image: Image) -> bytes:
    """Return a small JPEG of a whole image."""
    height, width = image.shape[:2]
    size = (STILL_PX, max(1, round(STILL_PX * height / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.asarray(small, dtype=np.uint8), PICTURE_QUALITY)


def _finish(state: _Analysis, waiting: list[tuple[int, Image]], at_start: list[Face]) -> list[Face]:
    """Analyse the last of the waiting frames and what is needed between; return the last one's faces."""
    if len(waiting) == 1:
        return at_start
    images = [image for _, image in waiting]
    last = len(images) - 1
    found = {0: at_start, last: state.detector.detect(images[last])}
    state.between(images, 0, last, found)
    for place in sorted(found)[1:]:
        state.record(waiting[place][0], images[place], found[place])
    return found[last]


def _pairs(first: Sequence[Face], second: Sequence[Face]) -> list[tuple[Face, Face]]:
    """Return the faces that are the same in both frames, by overlap, the surest pair first."""
    ranked = sorted(
        ((iou(one.box, other.box), a, b) for a, one in enumerate(first) for b, other in enumerate(second)),
        key=lambda found: (-found[0], found[1], found[2]),
    )
    pairs, used_first, used_second = [], set(), set()
    for overlap, a, b in ranked:
        if overlap >= SAME_IOU and a not in used_first and b not in used_second:
            pairs.append((first[a], second[b]))
            used_first.add(a)
            used_second.add(b)
    return pairs
