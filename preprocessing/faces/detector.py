"""Face detection in a single image, with insightface; the only file that imports insightface.

Any folder of insightface-compatible ONNX files with a detector works. All published weights are licensed for
non-commercial research only.
"""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.media.boxes import Box

with warnings.catch_warnings():
    # insightface warns about the versions of its own dependencies; users cannot act on that.
    warnings.simplefilter("ignore")
    import onnxruntime
    from insightface.app import FaceAnalysis
    from insightface.utils.face_align import norm_crop

logger = logging.getLogger(__name__)

LICENCE_NOTE = "detector weights for non-commercial research only"
INPUT_SIZE = (640, 640)
SECOND_LOOK_PAD = 0.5
"""Width of the second look's border over the longer side of the image."""


class Face(NamedTuple):
    """One detected face, in pixels of the input image; its box may reach beyond the image."""

    box: Box
    points: NDArray[np.float64]
    """Eyes, tip of the nose and corners of the mouth as x, y: [5, 2]."""
    score: float
    """Confidence of the detector, 0 to 1."""


def require_models(models: Path) -> None:
    """Check that the folder holds ONNX files.

    Raises:
        ValueError: it holds none.
    """
    if not any(models.glob("*.onnx")):
        raise ValueError(
            f"got no face detector at {models}; a folder with a detector's .onnx file is needed; "
            "run `lia fetch models` or set detect.models"
        )


def models_sha256(models: Path) -> str:
    """Return one sha256 over the names and bytes of the folder's ONNX files, in hex."""
    digest = hashlib.sha256()
    for path in sorted(models.glob("*.onnx")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


ARCFACE_SAME_PERSON_DISTANCE = 1.1
"""Two ArcFace embeddings closer than this show one person; it equals a cosine similarity of 0.4."""


class FaceDetector:
    """SCRFD on a padded image; without the border it misses faces that fill the image.

    The border is in proportion to the image, so that what is found does not depend on its size. An image in
    which nothing is found is looked at once more with a border that makes its faces half as large.

    Args:
        models: folder of ONNX files.
        min_score: least confidence of a face, 0 to 1.
        pad_px: width of the black border of an image whose longer side is 640 px; boxes are returned in
            pixels of the unpadded image.

    Raises:
        ValueError: the folder holds no detector.
    """

    def __init__(self, models: Path, min_score: float, pad_px: int) -> None:
        """Load the weights."""
        require_models(models)
        self._pad_px = pad_px
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # One thread per process: sources run in parallel, and spinning threads starve each other.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            analysis = FaceAnalysis(
                name=str(models),
                allowed_modules=["detection", "recognition"],
                providers=["CPUExecutionProvider"],
                sess_options=options,
            )
        except AssertionError as error:
            raise ValueError(
                f"got {models} with ONNX files but no face detector among them; "
                "a detector such as scrfd.onnx is needed; run `lia fetch models`"
            ) from error
        analysis.prepare(ctx_id=-1, det_thresh=min_score, det_size=INPUT_SIZE)
        self._model: Any = analysis.det_model
        self._recognition: Any = analysis.models.get("recognition")

    @property
    def can_recognize(self) -> bool:
        """Return whether the folder also holds a recognition network, which `embed` needs."""
        return self._recognition is not None

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a uint8 RGB [H, W, 3] image, highest score first."""
        longer = max(image.shape[:2])
        pads = (round(self._pad_px * longer / INPUT_SIZE[0]), round(SECOND_LOOK_PAD * longer))
        return next((found for pad in pads if (found := self._detect(image, pad))), [])

    def _detect(self, image: NDArray[np.uint8], pad: int) -> list[Face]:
        padded = np.pad(image[:, :, ::-1], ((pad, pad), (pad, pad), (0, 0)))
        rows, points = self._model.detect(np.ascontiguousarray(padded))
        if points is None:
            raise ValueError(
                "got a face detector without landmarks; five points per face are needed; use SCRFD"
            )
        faces = [
            Face(Box(*(row[:4].astype(float) - pad).tolist()), found.astype(float) - pad, float(row[4]))
            for row, found in zip(rows, points, strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)

    def embed(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        """Return the face's identity embedding by the folder's recognition network, of unit length: [E].

        Args:
            image: RGB, uint8 [H, W, 3].
            face: a result of `detect` on this image.
        """
        size = self._recognition.input_size[0]
        points = face.points.astype(np.float32)
        with warnings.catch_warnings():
            # insightface calls a function that scikit-image deprecates; users cannot act on that.
            warnings.simplefilter("ignore", FutureWarning)
            aligned = norm_crop(image[:, :, ::-1], landmark=points, image_size=size)
        embedding = self._recognition.get_feat(aligned).ravel().astype(np.float32)
        return embedding / np.linalg.norm(embedding)
