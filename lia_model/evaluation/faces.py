"""Face metrics: landmarks, identities and motion of results compared with true, source and driving frames.

Faces are detected as in preprocessing and read by dlib. Crops are enlarged to 512 px first, since dlib rounds
landmarks to whole pixels: at 64 px they jitter by 0.7 px, enlarged by 0.2 px. Positions are in pixels of the
original image. Readings are cached by the image's bytes, since several models are compared with the same
true frames.
Axes: S side of the image in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from lia_model.evaluation import face_distances
from lia_model.settings import FaceMetricSettings
from preprocessing.faces.detector import FaceDetector
from preprocessing.faces.embedder import FaceReader, FaceReading
from preprocessing.media.boxes import Box
from preprocessing.media.images import cut

READ_SIZE_PX = 512
# A face fills its crop, and the detector misses it without a wide border.
PAD_PX = READ_SIZE_PX // 2

Image = UInt8[np.ndarray, "S S 3"]
Value = float | None


class FaceMeter:
    """Reads the face of a crop.

    Raises:
        ValueError: the detector, dlib or dlib's weights are missing.
    """

    def __init__(self, settings: FaceMetricSettings) -> None:
        self._reader = FaceReader(settings.models)
        self._detector = FaceDetector(settings.detector, settings.min_score, PAD_PX)
        self._known: dict[bytes, FaceReading | None] = {}

    def read(self, image: Image) -> FaceReading | None:
        """Return the largest face of a crop, with landmarks in its pixels; None if no face is found."""
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._read(image)
        return self._known[key]

    def _read(self, image: Image) -> FaceReading | None:
        size_px = len(image)
        read_px = max(size_px, READ_SIZE_PX)
        large = cut(image, Box(0, 0, size_px, size_px), read_px)
        faces = self._detector.detect(large)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.box.width * face.box.height)
        reading = self._reader.read(large, largest.box)
        return reading._replace(landmarks=reading.landmarks * (size_px / read_px))

    def _read_pairs(
        self, results: Sequence[Image], others: Sequence[Image]
    ) -> list[tuple[FaceReading | None, FaceReading | None]]:
        return [(self.read(result), self.read(other)) for result, other in zip(results, others, strict=True)]

    def compare_with_truth(self, results: Sequence[Image], truths: Sequence[Image]) -> dict[str, Value]:
        """Return AKD in pixels, AED and MKR of generated frames against the true ones.

        MKR is the share of true frames with a face whose result shows no face; AKD and AED are means over the
        frames where both show a face. A metric is None if there is no such frame.
        """
        pairs = self._read_pairs(results, truths)
        return {
            "akd": _mean(pairs, lambda a, b: face_distances.landmark_distance(a.landmarks, b.landmarks)),
            "mkr": missed_rate(pairs),
            "aed": _mean(pairs, lambda a, b: face_distances.identity_distance(a.embedding, b.embedding)),
        }

    def compare_with_source(
        self, results: Sequence[Image], driving: Sequence[Image], source: Image
    ) -> dict[str, Value]:
        """Return CSIM against the source, and motion distance and MKR against the driving frames.

        Motion is relative to the first frame, so it is None if either first frame shows no face.
        """
        pairs = self._read_pairs(results, driving)
        portrait = self.read(source)
        first_result, first_driving = pairs[0]
        motion = None
        if first_result is not None and first_driving is not None:
            first = first_result.landmarks, first_driving.landmarks
            motion = _mean(
                pairs,
                lambda a, b: face_distances.motion_distance((first[0], a.landmarks), (first[1], b.landmarks)),
            )
        return {
            "csim": _mean(
                [(result, portrait) for result, _ in pairs],
                lambda a, b: face_distances.identity_similarity(a.embedding, b.embedding),
            ),
            "motion": motion,
            "mkr": missed_rate(pairs),
        }


def missed_rate(pairs: Sequence[tuple[FaceReading | None, FaceReading | None]]) -> Value:
    """Return the share of the pairs with a second face whose first is missing; None without such pairs."""
    expected = [result for result, truth in pairs if truth is not None]
    return sum(result is None for result in expected) / len(expected) if expected else None


def _mean(
    pairs: Sequence[tuple[FaceReading | None, FaceReading | None]],
    measure: Callable[[FaceReading, FaceReading], float],
) -> Value:
    values = [measure(a, b) for a, b in pairs if a is not None and b is not None]
    return float(np.mean(values)) if values else None
