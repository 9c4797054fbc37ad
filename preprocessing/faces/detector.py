"""Face detection in a single image, with insightface; the only file that imports insightface.

Any folder of insightface-compatible ONNX files with a detector works. All published weights are licensed for
non-commercial research only.
"""

import hashlib
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.free_size import read_with_free_size
from preprocessing.media.boxes import Box

with warnings.catch_warnings():
    # insightface warns about the versions of its own dependencies; users cannot act on that.
    warnings.simplefilter("ignore")
    import onnxruntime
    from insightface.app import FaceAnalysis
    from insightface.model_zoo.scrfd import SCRFD
    from insightface.utils.face_align import norm_crop

logger = logging.getLogger(__name__)

LICENCE_NOTE = "detector weights for non-commercial research only"
INPUT_PX = 640
"""Longer side of the network's input."""
STRIDE_PX = 32
"""Sides of the input are multiples of the network's coarsest step."""
SECOND_LOOK_PAD = 0.5
"""Width of the second look's border over the longer side of the image."""
CPU_PROVIDERS = ("CPUExecutionProvider",)


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


def require_providers(providers: Sequence[str]) -> None:
    """Check that onnxruntime has the execution providers.

    Raises:
        ValueError: it lacks one.
    """
    available = onnxruntime.get_available_providers()
    lacking = [one for one in providers if one not in available]
    if lacking:
        raise ValueError(
            f"got detect.providers {', '.join(lacking)}; this onnxruntime has {', '.join(available)}; name "
            "some of these, or install an onnxruntime built for your hardware, such as onnxruntime-gpu"
        )


def models_sha256(models: Path) -> str:
    """Return one sha256 over the names and bytes of the folder's ONNX files, in hex."""
    digest = hashlib.sha256()
    for path in sorted(models.glob("*.onnx")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


ARCFACE_SAME_PERSON_DISTANCE = 1.1
"""Two ArcFace embeddings closer than this show one person; it equals a cosine similarity of 0.4."""


class Look(NamedTuple):
    """How a picture is laid onto the detector's input, which is black elsewhere."""

    input_size: tuple[int, int]
    """Width and height of the input, multiples of `STRIDE_PX`."""
    size: tuple[int, int]
    """Width and height of the picture on it."""
    offset: int
    """Distance of the picture from the left and the upper side."""


def plan_look(width: int, height: int, pad: float, is_square: bool = False) -> Look:
    """Return where a picture lies whose longer side, with a border on both ends, fills the input.

    Args:
        width: of the picture, in pixels.
        height: of the picture.
        pad: width of the border over the longer side of the picture.
        is_square: whether the input must be as high as it is wide; else it has the picture's aspect.
    """
    scale = INPUT_PX / (max(width, height) * (1 + 2 * pad))
    offset = round(pad * max(width, height) * scale)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    whole = [math.ceil((side + 2 * offset) / STRIDE_PX) * STRIDE_PX for side in size]
    input_width, input_height = (INPUT_PX if is_square else min(side, INPUT_PX) for side in whole)
    return Look((input_width, input_height), size, offset)


class FaceDetector:
    """SCRFD on a picture with a border; without it, it misses faces that fill the picture.

    The border is in proportion to the picture, so that what is found does not depend on its size. A picture
    in which nothing is found is looked at once more with a border that makes its faces half as large. The
    network's input has the picture's own aspect, if its graph can be freed from a fixed size.

    Args:
        models: folder of ONNX files.
        min_score: least confidence of a face, 0 to 1.
        pad_px: width of the black border of an image whose longer side is 640 px; boxes are returned in
            pixels of the unpadded image.
        providers: onnxruntime's execution providers, the preferred one first.

    Raises:
        ValueError: the folder holds no detector, or onnxruntime lacks a provider.
    """

    def __init__(
        self, models: Path, min_score: float, pad_px: int, providers: Sequence[str] = CPU_PROVIDERS
    ) -> None:
        """Load the weights."""
        require_models(models)
        require_providers(providers)
        self._pads = (pad_px / INPUT_PX, SECOND_LOOK_PAD)
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # One thread per process: sources run in parallel, and spinning threads starve each other.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            analysis = FaceAnalysis(
                name=str(models),
                allowed_modules=["detection", "recognition"],
                providers=list(providers),
                sess_options=options,
            )
        except AssertionError as error:
            raise ValueError(
                f"got {models} with ONNX files but no face detector among them; "
                "a detector such as scrfd.onnx is needed; run `lia fetch models`"
            ) from error
        found: Any = analysis.det_model
        graph = read_with_free_size(Path(found.model_file)).SerializeToString()
        # insightface makes a session for each size; this one takes any.
        session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        self._model: Any = SCRFD(session=session)
        self._model.prepare(0, det_thresh=min_score)
        self._recognition: Any = analysis.models.get("recognition")

    @property
    def can_recognize(self) -> bool:
        """Return whether the folder also holds a recognition network, which `embed` needs."""
        return self._recognition is not None

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a uint8 RGB [H, W, 3] image, highest score first."""
        return next((found for pad in self._pads if (found := self._detect(image, pad))), [])

    def _detect(self, image: NDArray[np.uint8], pad: float) -> list[Face]:
        height, width = image.shape[:2]
        look = plan_look(width, height, pad, is_square=self._model.static_input_size is not None)
        canvas = np.zeros((*look.input_size[::-1], 3), np.uint8)
        right, bottom = (side + look.offset for side in look.size)
        canvas[look.offset : bottom, look.offset : right] = cv2.resize(image, look.size)[:, :, ::-1]
        rows, points = self._model.detect(canvas, input_size=look.input_size)
        if points is None:
            raise ValueError(
                "got a face detector without landmarks; five points per face are needed; use SCRFD"
            )
        scale = np.array([width / look.size[0], height / look.size[1]])
        faces = [
            Face(
                Box(*((row[:4].reshape(2, 2) - look.offset) * scale).ravel().tolist()),
                (found.astype(float) - look.offset) * scale,
                float(row[4]),
            )
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
