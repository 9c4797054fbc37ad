"""Choice of the frames in which faces are detected, so that detection costs a fraction of decoding.

Every k-th frame, the first and the last frame, and both sides of a scene cut or a hole are analysed. Where
two neighbouring analysed frames disagree, the frame halfway between them is analysed too, recursively, so
that linear interpolation between sightings follows every face. At most k frames are in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from preprocessing.faces.detector import Face
from preprocessing.faces.scenes import CutDetector
from preprocessing.media.boxes import Box, iou
from preprocessing.media.images import Image
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.settings import DetectSettings

SAME_IOU = 0.3
"""Least overlap of two faces in neighbouring analysed frames to count as the same face."""
CLOSEST_NUM_FRAMES = 2
"""Analysed frames at most this far apart are not refined further."""


@runtime_checkable
class Detector(Protocol):
    """Finds faces, or other boxes to crop around, in a uint8 RGB [H, W, 3] image."""

    def detect(self, image: Image) -> list[Face]:
        """Return the faces, highest score first."""
        ...


class FixedBox:
    """A detector for sources whose box is known: returns the same box for every image.

    Args:
        box_of: returns the box for a frame of (width, height) pixels.
    """

    def __init__(self, box_of: Callable[[tuple[int, int]], Box]) -> None:
        """Keep the rule."""
        self._box_of = box_of

    def detect(self, image: Image) -> list[Face]:
        """Return the box with score 1 and NaN as its points."""
        height, width = image.shape[:2]
        return [Face(self._box_of((width, height)), np.full((5, 2), np.nan), 1.0)]


class AnalysedFrame(NamedTuple):
    """One frame with its detected faces."""

    number: int
    image: Image
    faces: list[Face]
    starts_scene: bool
    """Whether a scene cut or a hole precedes the frame; False for the first frame."""


def detect_sparsely(
    frames: Iterable[NumberedFrame], detector: Detector, settings: DetectSettings
) -> Iterator[AnalysedFrame]:
    """Yield the analysed frames in order; the first and the last frame are always among them.

    Args:
        frames: consecutive frames.
        detector: finds the faces of one image.
        settings: `every_num_frames` and `recheck_iou`.
    """
    scenes = CutDetector()
    # The last analysed frame, followed by the frames since then.
    pending: list[NumberedFrame] = []
    at_start: list[Face] = []
    for frame in frames:
        is_cut = scenes.is_cut(frame.picture.small) or (frame.starts_segment and bool(pending))
        if is_cut or not pending:
            yield from _analyse_pending(pending, at_start, detector, settings.recheck_iou)
            at_start = detector.detect(frame.image)
            yield AnalysedFrame(frame.number, frame.image, at_start, starts_scene=is_cut)
            pending = [frame]
            continue
        pending.append(frame)
        if frame.number - pending[0].number == settings.every_num_frames:
            for analysed in _analyse_pending(pending, at_start, detector, settings.recheck_iou):
                yield analysed
                at_start = analysed.faces
            pending = pending[-1:]
    yield from _analyse_pending(pending, at_start, detector, settings.recheck_iou)


def _analyse_pending(
    pending: Sequence[NumberedFrame], at_start: list[Face], detector: Detector, least_iou: float
) -> Iterator[AnalysedFrame]:
    """Yield the last pending frame and those needed before it; the first one is analysed already."""
    if len(pending) < 2:
        return
    last = len(pending) - 1
    found = {0: at_start, last: detector.detect(pending[last].image)}
    _refine(pending, 0, last, found, detector, least_iou)
    for place in sorted(found)[1:]:
        yield AnalysedFrame(pending[place].number, pending[place].image, found[place], starts_scene=False)


def _refine(
    pending: Sequence[NumberedFrame],
    low: int,
    high: int,
    found: dict[int, list[Face]],
    detector: Detector,
    least_iou: float,
) -> None:
    """Detect faces between two analysed frames while their faces disagree; adds to `found`."""
    if high - low <= CLOSEST_NUM_FRAMES or agree(found[low], found[high], least_iou):
        return
    middle = (low + high) // 2
    found[middle] = detector.detect(pending[middle].image)
    share = (middle - low) / (high - low)
    if not lies_between(found[low], found[middle], found[high], share, least_iou):
        _refine(pending, low, middle, found, detector, least_iou)
        _refine(pending, middle, high, found, detector, least_iou)


def agree(first: Sequence[Face], second: Sequence[Face], least_iou: float) -> bool:
    """Return whether two frames show the same faces in nearly the same places."""
    pairs = _pair_faces(first, second)
    is_complete = len(pairs) == len(first) == len(second)
    return is_complete and all(iou(one.box, other.box) >= least_iou for one, other in pairs)


def lies_between(
    low: Sequence[Face], middle: Sequence[Face], high: Sequence[Face], share: float, least_iou: float
) -> bool:
    """Return whether interpolating between `low` and `high` predicts the faces of `middle`.

    Args:
        low: the faces of the earlier frame.
        middle: the faces of the frame between.
        high: the faces of the later frame.
        share: position of the middle frame, 0 at `low` and 1 at `high`.
        least_iou: least overlap of a face with its prediction.
    """
    pairs = _pair_faces(low, high)
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


def _pair_faces(first: Sequence[Face], second: Sequence[Face]) -> list[tuple[Face, Face]]:
    """Match the faces of two frames greedily by overlap, best pair first."""
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
