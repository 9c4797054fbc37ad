"""A video whose faces are known in every frame: grey images, and a detector that reads their numbers."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from preprocessing.faces.detector import Face
from preprocessing.faces.miniatures import Miniatures
from preprocessing.media.boxes import Box
from preprocessing.media.images import Image
from preprocessing.media.parts.numbered_frames import NumberedFrame
from preprocessing.media.picture import whole_picture

NO_MINIATURES = Miniatures([], (1, 1), b"")


class Oracle:
    """A detector that reads a frame's number from its first pixel; `place` gives the left sides of its faces.

    Faces are 80 px wide and high, and 50 px below the top. `looked` lists the numbers of the analysed frames.
    """

    def __init__(self, place: Callable[[int], Sequence[float]]) -> None:
        self.place = place
        self.looked: list[int] = []

    def detect(self, image: Image) -> list[Face]:
        number = int(image[0, 0, 0]) * 100 + int(image[0, 0, 1])
        self.looked.append(number)
        return [
            Face(face_box(left), np.tile([left + 40.0, 90.0], (5, 1)), 0.9) for left in self.place(number)
        ]


def face_box(left: float) -> Box:
    return Box(left, 50, left + 80, 130)


def frames(
    count: int, cut_at: int | None = None, first: int = 0, hole_at: int | None = None
) -> Iterator[NumberedFrame]:
    """Yield `count` frames of 320 by 180 px at 25 fps, dark before `cut_at` and bright from there on."""
    for number in range(first, first + count):
        image = np.full((180, 320, 3), 60 if cut_at is None or number < cut_at else 200, np.uint8)
        image[0, 0] = (number // 100, number % 100, 0)
        yield NumberedFrame(number, whole_picture(image), number / 25, number == hole_at)
