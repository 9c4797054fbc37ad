"""`lia animate`, `lia motion extract` and `lia manipulate`: on this machine, without the service."""

from dataclasses import dataclass
from pathlib import Path

from lia_model.allocator import keep_freed_memory
from lia_model.animation.driving import extract_motion
from lia_model.animation.file import AnimationRequest, AnimationResult, animate_file
from lia_model.animation.framing import FaceChoice, FaceCropper
from lia_model.animation.manipulation import ManipulationRequest, manipulate_file
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animator import Animator
from lia_model.settings import Compilation, Precision
from pipelines.environment import Environment
from pipelines.local.progress import progress
from pipelines.params import Params
from preprocessing.faces.detector import FaceDetector


@dataclass(frozen=True)
class InferenceOptions:
    """What an animation is made with."""

    model: str
    """Checkpoint directory, models:/NAME@ALIAS or models:/NAME/VERSION."""
    device: str
    """torch's name of it, or auto."""
    precision: Precision
    """Arithmetic of the generator."""
    compilation: Compilation
    """How the networks are compiled before the first frame."""
    crop: bool
    """Whether faces are found and cropped first, by the rule of the training clips."""


def run_animate(
    params: Params, environment: Environment, request: AnimationRequest, options: InferenceOptions
) -> AnimationResult:
    """Write the animation.

    Raises:
        ValueError: a file is missing or cannot be used, shows no face, the request contradicts itself, or the
            model does not exist.
    """
    _require_files(request.source, request.driving)
    animator = _animator(options)
    if options.compilation != "none":
        animator.warm_up(request.batch_size)
    cropper = _cropper(params, environment, options)
    with progress("frames") as tell:
        return animate_file(animator, cropper, request, tell)


def run_extract(
    params: Params,
    environment: Environment,
    driving: Path,
    output: Path,
    options: InferenceOptions,
    convert: bool,
) -> Motion:
    """Write the motion of a driving clip.

    Raises:
        ValueError: the file is missing or cannot be used, shows no face, or the model does not exist.
    """
    _require_files(driving)
    cropper = _cropper(params, environment, options)
    template = extract_motion(_animator(options), cropper, driving, params.serve.batch_size, convert)
    write_motion(output, template)
    return template


def run_manipulate(
    params: Params, environment: Environment, request: ManipulationRequest, options: InferenceOptions
) -> int:
    """Write the strips, videos and contact sheet; return the number of directions.

    Raises:
        ValueError: the file is missing or cannot be used, shows no face, a number is out of bounds, or the
            model does not exist.
    """
    _require_files(request.source)
    return manipulate_file(_animator(options), _cropper(params, environment, options), request)


def parse_face(text: str) -> FaceChoice:
    """Read the choice of a face.

    Raises:
        ValueError: it is neither largest, all nor a number from 1.
    """
    if text in ("largest", "all"):
        return text
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise ValueError(f"face is {text!r}; it is largest, all, or a number from 1 at the left: choose one")


def _require_files(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path} does not exist: give an image or a video")


def _animator(options: InferenceOptions) -> Animator:
    keep_freed_memory()
    return Animator.load(options.model, options.device, options.precision, options.compilation)


def _cropper(params: Params, environment: Environment, options: InferenceOptions) -> FaceCropper | None:
    if not options.crop:
        return None
    detect = params.shards.detect
    detector = FaceDetector(environment.root / params.serve.detector, detect.min_score, detect.pad_px)
    return FaceCropper(detector, detect.every_num_frames, params.shards.crop.scale)
