"""`lia animate`: one animation on this machine, without the service."""

from dataclasses import dataclass

from lia_model.animation import AnimationRequest, AnimationResult, FaceCropper, animate_file
from lia_model.animator import Animator
from lia_model.settings import Precision
from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.detect import FaceDetector


@dataclass(frozen=True)
class Means:
    """What an animation is made with."""

    model: str
    """Checkpoint directory, models:/NAME@ALIAS or models:/NAME/VERSION."""
    device: str
    """torch's name of it, or auto."""
    precision: Precision
    """Arithmetic of the generator."""
    crop: bool
    """Whether faces are found and cropped first, by the rule of the training clips."""


def run_animate(
    params: Params,
    environment: Environment,
    files: AnimationRequest,
    means: Means,
) -> AnimationResult:
    """Write the animation.

    Raises:
        ValueError: a file is missing or unreadable, shows no face, or the model does not exist.
    """
    for path in (files.source, files.driving):
        if not path.is_file():
            raise ValueError(f"{path} does not exist: give an image or a video")
    animator = Animator.load(means.model, device=means.device, precision=means.precision)
    return animate_file(animator, _cropper(params, environment) if means.crop else None, files)


def _cropper(params: Params, environment: Environment) -> FaceCropper:
    detect = params.shards.detect
    detector = FaceDetector(environment.root / params.serve.detector, detect.min_score, detect.pad_px)
    return FaceCropper(detector, detect.every_num_frames, params.shards.crop.scale)
