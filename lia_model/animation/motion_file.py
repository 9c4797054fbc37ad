"""Motion files: the motion weights of a driving clip as safetensors, which drive in the clip's place.

Motion weights are valid only for the model that extracted them, which the file identifies by the hash of its
weights. The clip's framing is stored too, so that a source is framed as if the clip itself drove it.
Axes: T frames, K directions, N positions of the face.
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.framing import RULE, FacePosition, Framing
from preprocessing.media.boxes import Box

FORMAT = "open-lia motion template"
FORMAT_VERSION = 1
_NUM_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""What safetensors itself allows."""


class UnusableMotionError(UnreadableMediaError):
    """The motion file is damaged, of another kind, or of another model."""


@dataclass(frozen=True)
class Motion:
    """The motion of a driving clip, as one model sees it."""

    weights: Float32[np.ndarray, "T K"]
    fps: Fraction
    is_still: bool
    """Whether it comes from an image, whose pose holds for any number of frames."""
    model: str
    """Fingerprint of the model."""
    framing: Framing | None
    """How the driving clip was cropped; None where it was not."""


def is_motion_file(path: Path) -> bool:
    """Tell a safetensors file by its first bytes: the header's length, then JSON."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_NUM_LENGTH_BYTES + 1)
    length = int.from_bytes(head[:_NUM_LENGTH_BYTES], "little")
    return head[_NUM_LENGTH_BYTES:] == b"{" and length <= _MAX_HEADER_BYTES


def write_motion(path: Path, template: Motion) -> None:
    """Write the motion file atomically."""
    tensors = {"weights": np.ascontiguousarray(template.weights)}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "fps": str(template.fps),
        "is_still": str(template.is_still).lower(),
        "model_sha256": template.model,
        "crop_rule": "none",
    }
    if template.framing is not None:
        positions = template.framing.positions
        tensors["face_frames"] = np.array([position.frame for position in positions], dtype=np.int64)
        tensors["face_boxes"] = np.array([position.box for position in positions], dtype=np.float64)
        metadata |= {"crop_rule": RULE, "crop_square": json.dumps(list(template.framing.square))}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(save(tensors, metadata))
    partial.replace(path)


def read_motion(path: Path, model: str) -> Motion:
    """Read a motion file.

    Args:
        path: the file.
        model: fingerprint of the model to be driven.

    Raises:
        UnusableMotionError: it is damaged, no motion file, of a newer format, or of another model.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise UnusableMotionError(
            f"got {path}, which is a damaged safetensors file ({error}); a whole motion file is needed: "
            "copy it again, or make it with `lia motion extract`"
        ) from error
    _check_kind(path, metadata, model)
    try:
        return _build(tensors, metadata)
    except (KeyError, ValueError, TypeError) as error:
        raise UnusableMotionError(
            f"got {path}, in which {error} is missing or wrong; make it again with `lia motion extract`"
        ) from error


def _check_kind(path: Path, metadata: dict[str, str], model: str) -> None:
    if metadata.get("format") != FORMAT:
        raise UnusableMotionError(
            f"got {path}, a safetensors file that holds no motion; a motion file is needed here: "
            "make one with `lia motion extract`"
        )
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise UnusableMotionError(
            f"got {path} of format version {metadata.get('format_version')}; this program reads "
            f"{FORMAT_VERSION}: make it again with `lia motion extract`"
        )
    own = metadata.get("model_sha256", "")
    if own != model:
        raise UnusableMotionError(
            f"got {path}, the motion of another model ({own[:12]}, this one is {model[:12]}); weights mean "
            "nothing to other models: make it again with `lia motion extract` and this model"
        )


def _build(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> Motion:
    weights = tensors["weights"]
    if weights.dtype != np.float32 or weights.ndim != 2 or not len(weights) or not np.isfinite(weights).all():
        raise ValueError("weights")
    try:
        fps = Fraction(metadata["fps"])
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps <= 0:
        raise ValueError("fps")
    framing = None
    if metadata["crop_rule"] != "none":
        boxes = [Box(*(float(side) for side in box)) for box in tensors["face_boxes"]]
        frames = tensors["face_frames"].tolist()
        positions = tuple(FacePosition(frame, box) for frame, box in zip(frames, boxes, strict=True))
        framing = Framing(Box(*(float(side) for side in json.loads(metadata["crop_square"]))), positions)
    return Motion(weights, fps, metadata["is_still"] == "true", metadata["model_sha256"], framing)
