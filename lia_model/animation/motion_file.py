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
from jaxtyping import Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lia_model.animation.footage import UnreadableMediaError
from lia_model.animation.framing import RULE, FacePosition, Framing
from preprocessing.media.boxes import Box
from preprocessing.storage.files import write_atomically

FORMAT = "open-lia motion template"
FORMAT_VERSION = 1
_NUM_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library."""


class UnusableMotionError(UnreadableMediaError):
    """The file is damaged, not a motion file, or made by another model."""


@dataclass(frozen=True)
class Motion:
    """The motion of a driving clip, as one model sees it."""

    weights: Float32[np.ndarray, "T K"]
    fps: Fraction
    is_still: bool
    """Whether the driving file was an image, whose one pose applies to any number of frames."""
    model: str
    """`Animator.fingerprint` of the model that extracted the weights."""
    framing: Framing | None
    """How the driving clip was cropped; None if it was not."""
    starts_s: Float64[np.ndarray, " T"] | None = None
    """When each frame is shown; None if they come at `fps`."""


def is_motion_file(path: Path) -> bool:
    """Return whether the file starts like safetensors: the length of the header, then JSON."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_NUM_LENGTH_BYTES + 1)
    length = int.from_bytes(head[:_NUM_LENGTH_BYTES], "little")
    return head[_NUM_LENGTH_BYTES:] == b"{" and length <= _MAX_HEADER_BYTES


def write_motion(path: Path, motion: Motion) -> None:
    """Write the motion file atomically."""
    tensors = {"weights": np.ascontiguousarray(motion.weights)}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "fps": str(motion.fps),
        "is_still": str(motion.is_still).lower(),
        "model_sha256": motion.model,
        "crop_rule": "none",
    }
    if motion.framing is not None:
        positions = motion.framing.positions
        tensors["face_frames"] = np.array([position.frame for position in positions], dtype=np.int64)
        tensors["face_boxes"] = np.array([position.box for position in positions], dtype=np.float64)
        metadata |= {"crop_rule": RULE, "crop_square": json.dumps(list(motion.framing.square))}
    if motion.starts_s is not None:
        tensors["starts_s"] = motion.starts_s
    with write_atomically(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def read_motion(path: Path, model: str | None = None) -> Motion:
    """Read a motion file.

    Args:
        path: a file written by `write_motion`.
        model: fingerprint of the model to be driven; None takes the motion of any.

    Raises:
        UnusableMotionError: the file is damaged, not a motion file, of another format version, or made by
            another model.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise UnusableMotionError(
            f"got {path}, a damaged safetensors file ({error}); a complete motion file is needed: "
            "copy it again or recreate it with `lia motion extract`"
        ) from error
    _check_kind(path, metadata, model)
    try:
        return _build(tensors, metadata)
    except (KeyError, ValueError, TypeError) as error:
        raise UnusableMotionError(
            f"got {path}, in which {error} is missing or invalid: recreate it with `lia motion extract`"
        ) from error


def _check_kind(path: Path, metadata: dict[str, str], model: str | None) -> None:
    if metadata.get("format") != FORMAT:
        raise UnusableMotionError(
            f"got {path}, a safetensors file without motion weights; a motion file is needed: "
            "create one with `lia motion extract`"
        )
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise UnusableMotionError(
            f"got {path} of format version {metadata.get('format_version')}; this program reads version "
            f"{FORMAT_VERSION}: recreate it with `lia motion extract`"
        )
    own = metadata.get("model_sha256", "")
    if model is not None and own != model:
        raise UnusableMotionError(
            f"got {path}, the motion of another model ({own[:12]}); it must come from the loaded model "
            f"({model[:12]}): recreate it with `lia motion extract` and this model"
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
    starts_s = tensors.get("starts_s")
    if starts_s is not None and (starts_s.shape != weights.shape[:1] or not (np.diff(starts_s) > 0).all()):
        raise ValueError("starts_s")
    return Motion(weights, fps, metadata["is_still"] == "true", metadata["model_sha256"], framing, starts_s)
