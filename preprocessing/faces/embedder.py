"""Where a face's parts are and whose face it is, by dlib; the only file that imports dlib.

Both networks are Davis King's: 68 landmarks by the shape predictor trained on iBUG 300-W, and a 128-d
embedding by the ResNet of his face recognition example. Their numbers compare with other numbers of the same
two networks alone, so name them beside each one. Neither is needed to make shards or to train.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.media.boxes import Box

LANDMARK_MODEL = "dlib shape_predictor_68_face_landmarks"
EMBEDDING_MODEL = "dlib face_recognition_resnet_model_v1, 128-d"
LANDMARK_FILE = "shape_predictor_68_face_landmarks.dat"
EMBEDDING_FILE = "dlib_face_recognition_resnet_model_v1.dat"
NUM_LANDMARKS = 68
EMBEDDING_SIZE = 128
SAME_PERSON_DISTANCE = 0.6
"""Two embeddings nearer than this are one person, by the rule the network was trained for."""

# The shape predictor expects the squares of dlib's own face detector, which reach from the brows to the chin.
# Medians over 84 faces that both detectors found: side over the geometric mean of SCRFD's width and height,
# and how much lower the centre lies, in widths.
_SQUARE_SCALE = 0.942
_SQUARE_DROP = 0.061


class MissingModelsError(ValueError):
    """dlib or its weights are not on this machine."""


class FaceReading(NamedTuple):
    """What was read off one face."""

    landmarks: NDArray[np.float64]
    """x, y in pixels of the image that was given: [68, 2], in the order of iBUG 300-W."""
    embedding: NDArray[np.float64]
    """Identity: [128], nearly of length 1."""


class FaceReader:
    """dlib's two networks, in this thread alone.

    Args:
        models: folder with the two .dat files that `lia fetch models` writes to models/dlib.

    Raises:
        MissingModelsError: dlib is not installed, or a file is not there.
    """

    def __init__(self, models: Path) -> None:
        """Load the weights."""
        self._dlib = _import_dlib()
        for name in (LANDMARK_FILE, EMBEDDING_FILE):
            if not (models / name).is_file():
                raise MissingModelsError(
                    f"got no {name} in {models}; landmarks and identities need it; run `lia fetch models`"
                )
        self._landmarks = self._dlib.shape_predictor(str(models / LANDMARK_FILE))
        self._embedding = self._dlib.face_recognition_model_v1(str(models / EMBEDDING_FILE))

    def read(self, image: NDArray[np.uint8], box: Box) -> FaceReading:
        """Read the face in `box`.

        Landmarks come on whole pixels, so a small picture should be enlarged before: at 64 px they move by
        0.7 px, enlarged eightfold by 0.2 px (against the same faces at 256 px).

        Args:
            image: RGB, uint8 [H, W, 3].
            box: the face as the detector of `preprocessing.faces.detector` finds it, in pixels of `image`.
        """
        image = np.ascontiguousarray(image)
        left, top, right, bottom = map(round, dlib_square(box))
        shape = self._landmarks(image, self._dlib.rectangle(left, top, right, bottom))
        embedding = self._embedding.compute_face_descriptor(image, shape)
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)
        return FaceReading(points, np.array(embedding, dtype=np.float64))


def dlib_square(box: Box) -> Box:
    """Return the square that dlib's own detector would draw around the face in SCRFD's `box`."""
    half = _SQUARE_SCALE * float(np.sqrt(box.width * box.height)) / 2
    x, y = box.centre
    y += _SQUARE_DROP * box.width
    return Box(x - half, y - half, x + half, y + half)


def _import_dlib() -> Any:  # noqa: ANN401 - dlib has no types
    try:
        import dlib
    except ImportError:
        raise MissingModelsError(
            "got no dlib; landmarks and identities need it; pip install dlib-bin, or build dlib where "
            "there is no wheel"
        ) from None
    return dlib
