"""Facial landmarks and identity embeddings, with dlib; the only file that imports dlib.

Both networks are Davis King's: the 68-point shape predictor trained on iBUG 300-W and the 128-d embedding
ResNet of his face recognition example. Their numbers are comparable only with numbers from the same two
networks, so every report names them. Making shards and training work without them.
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
DLIB_FILES = (LANDMARK_FILE, EMBEDDING_FILE)
NUM_LANDMARKS = 68
EMBEDDING_SIZE = 128
DLIB_SAME_PERSON_DISTANCE = 0.6
"""Two dlib embeddings closer than this show one person; the network was trained with this threshold."""

# The shape predictor expects the squares of dlib's own face detector, which reach from the brows to the chin.
# Medians over 84 faces found by both detectors: the square's side over the geometric mean of SCRFD's width
# and height, and the offset of its centre downwards, in SCRFD widths.
_SQUARE_SCALE = 0.942
_SQUARE_DROP = 0.061


class MissingModelsError(ValueError):
    """dlib or its weights are missing on this machine."""


class FaceReading(NamedTuple):
    """Landmarks and embedding of one face."""

    landmarks: NDArray[np.float64]
    """x, y in pixels of the input image, in the order of iBUG 300-W: [68, 2]."""
    embedding: NDArray[np.float64]
    """Identity embedding, of nearly unit length: [128]."""


class FaceReader:
    """Both dlib networks; not thread-safe.

    Args:
        models: folder with the two .dat files, which `lia fetch models` writes to models/dlib.

    Raises:
        MissingModelsError: dlib is not installed, or a file is missing.
    """

    def __init__(self, models: Path) -> None:
        """Load the weights."""
        self._dlib = _import_dlib()
        for name in DLIB_FILES:
            if not (models / name).is_file():
                raise MissingModelsError(
                    f"got no {name} in {models}; landmarks and identities need it; run `lia fetch models`"
                )
        self._landmarks = self._dlib.shape_predictor(str(models / LANDMARK_FILE))
        self._embedding = self._dlib.face_recognition_model_v1(str(models / EMBEDDING_FILE))

    def read(self, image: NDArray[np.uint8], box: Box) -> FaceReading:
        """Return the landmarks and the embedding of the face at `box`.

        Landmarks are whole pixels, so enlarge small images first: compared with the same faces at 256 px,
        landmarks are off by 0.7 px at 64 px, and by 0.2 px when the image is enlarged eightfold.

        Args:
            image: RGB, uint8 [H, W, 3].
            box: the face as `preprocessing.faces.detector` finds it, in pixels of `image`.
        """
        image = np.ascontiguousarray(image)
        left, top, right, bottom = map(round, dlib_square(box))
        shape = self._landmarks(image, self._dlib.rectangle(left, top, right, bottom))
        embedding = self._embedding.compute_face_descriptor(image, shape)
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)
        return FaceReading(points, np.array(embedding, dtype=np.float64))


def dlib_square(box: Box) -> Box:
    """Return the square that dlib's own detector would return for the face at SCRFD's `box`."""
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
            "no wheel exists"
        ) from None
    return dlib
