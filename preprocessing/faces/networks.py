"""The face networks that the settings choose: a detector and, optionally, a network that embeds faces.

Without `shards.identity.models` no face is embedded. With it, the recognition network in the detector's
folder embeds faces, or dlib if that folder holds none.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from preprocessing.faces.calibration import CALIBRATION_NAME, Calibration, find_calibration, networks_key
from preprocessing.faces.detector import (
    ARCFACE_SAME_PERSON_DISTANCE,
    FaceDetector,
    models_sha256,
    require_models,
)
from preprocessing.faces.embedder import DLIB_FILES, DLIB_SAME_PERSON_DISTANCE, EMBEDDING_MODEL, FaceReader
from preprocessing.faces.search import Recognizer
from preprocessing.settings import DetectSettings, IdentitySettings
from preprocessing.storage.files import file_sha256


def require_networks(root: Path, detect: DetectSettings, identity: IdentitySettings) -> None:
    """Check that the weights exist, before any work starts.

    Args:
        root: folder that the settings' paths are relative to.
        detect: names the detector's folder.
        identity: names dlib's folder, or None.

    Raises:
        ValueError: a file is missing; the message says how to get it.
    """
    require_models(root / detect.models)
    dlib = identity.models
    if dlib is None:
        return
    for name in DLIB_FILES:
        if not (root / dlib / name).is_file():
            raise ValueError(
                f"got no {name} in shards.identity.models {dlib}; it is needed to tell people apart; "
                "run `lia fetch models`, or set shards.identity.models to null"
            )


def load_networks(
    root: Path, detect: DetectSettings, identity: IdentitySettings
) -> tuple[FaceDetector, Recognizer | None]:
    """Return the detector, and the function that embeds a face; None for it if `identity.models` is None.

    Raises:
        ValueError: weights are missing.
    """
    detector = _load_detector(root / detect.models, detect.min_score, detect.pad_px, detect.providers)
    if identity.models is None:
        return detector, None
    if detector.can_recognize:
        return detector, detector.embed
    reader = _load_reader(root / identity.models)
    return detector, lambda image, face: reader.read(image, face.box).embedding.astype("float32")


def network_hashes(root: Path, detect: DetectSettings, identity: IdentitySettings) -> list[str]:
    """Return the sha256 of the detector's folder and, if it is set, of each of dlib's files; in hex."""
    dlib = identity.models
    # The landmarks count too: the face is aligned by them before it is embedded.
    files = [] if dlib is None else [root / dlib / name for name in DLIB_FILES]
    return [models_sha256(root / detect.models), *map(_cached_sha256, files)]


class PersonLimits(NamedTuple):
    """Greatest distances of two embeddings of one person."""

    person_distance: float
    """Of two people's mean embeddings."""
    face_distance: float
    """Of a face to the nearest of one person's faces before it in a video."""
    calibration: Calibration | None
    """What was measured of the embedder; None if it was not calibrated."""


def embedder_key(root: Path, detect: DetectSettings, identity: IdentitySettings) -> tuple[str, str]:
    """Return the name of the embedder and the hash of all networks that its embeddings depend on."""
    files = sorted(path.name for path in (root / detect.models).glob("*.onnx"))
    if len(files) > 1:
        # A recognition network beside the detector leaves dlib unused.
        identity = identity.model_copy(update={"models": None})
        name = ", ".join(files)
    else:
        name = f"{EMBEDDING_MODEL}, on boxes of {files[0] if files else None}"
    return name, networks_key(network_hashes(root, detect, identity))


def person_limits(root: Path, detect: DetectSettings, identity: IdentitySettings) -> PersonLimits:
    """Return the limits: the setting, or those of the embedder's calibration, or its authors'."""
    has_recognition = len(list((root / detect.models).glob("*.onnx"))) > 1
    default = ARCFACE_SAME_PERSON_DISTANCE if has_recognition else DLIB_SAME_PERSON_DISTANCE
    found = None
    # Crop rules that detect no faces need no weights, so they may be missing.
    dlib = identity.models
    if dlib is not None and (has_recognition or all((root / dlib / name).is_file() for name in DLIB_FILES)):
        _, networks = embedder_key(root, detect, identity)
        found = find_calibration(networks, root / detect.models / CALIBRATION_NAME)
    if found is None:
        return PersonLimits(identity.max_distance or default, identity.max_distance or default, None)
    person_distance = identity.max_distance or found.max_distance
    return PersonLimits(person_distance, max(person_distance, found.max_face_distance), found)


# Cached, since a child process handles many sources and loading takes as long as analysing a short clip.
_cached_sha256 = lru_cache(maxsize=8)(file_sha256)


@lru_cache(maxsize=1)
def _load_detector(models: Path, min_score: float, pad_px: int, providers: tuple[str, ...]) -> FaceDetector:
    return FaceDetector(models, min_score, pad_px, providers)


@lru_cache(maxsize=1)
def _load_reader(models: Path) -> FaceReader:
    return FaceReader(models)
