"""`lia animate`, `lia motion extract` and `lia manipulate`: on this machine, without the service."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lia_model.animation.driving import extract_motion
from lia_model.animation.file import AnimationRequest, AnimationResult, animate_file
from lia_model.animation.footage import Decoding
from lia_model.animation.framing import FaceCropper, make_cropper
from lia_model.animation.manipulation import ManipulationRequest, manipulate_file
from lia_model.animation.motion_file import Motion, write_motion
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.device.allocator import keep_freed_memory
from lia_model.registry.aliases import champion_uri
from lia_model.registry.models import ResolvedModel, resolve
from lia_model.registry.tracking_variables import URI
from lia_model.serving.interactive.direction_names import open_names
from lia_model.serving.messages import ModelVersion
from lia_model.settings import Compilation, Precision, VideoDecoder, VideoEncoder
from pipelines.forgotten_sources import warn_of_forgotten
from pipelines.local.progress import progress
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.codecs.video_hardware import takes_gpu_encoder


@dataclass(frozen=True)
class Inference:
    """Which model computes, and how; it changes the speed and the rounding, not what is asked for."""

    model: str | None
    """Checkpoint directory, models:/NAME@ALIAS or models:/NAME/VERSION; None is `release.name`'s champion."""
    device: str
    """torch's name of the device, or auto."""
    precision: Precision
    """Arithmetic of the networks."""
    compilation: Compilation = "none"
    """How the networks are compiled or recorded, at their first batch."""
    video_decoder: VideoDecoder = "cpu"
    """Where videos are decoded."""
    video_encoder: VideoEncoder = "cpu"
    """Where the result is encoded."""


def run_animate(
    params: Params, root: Path, request: AnimationRequest, inference: Inference
) -> AnimationResult:
    """Write the animation.

    Args:
        params: batch size and detector.
        root: folder that the detector's path is relative to.
        request: what to animate.
        inference: which model, and how it is run.

    Raises:
        ValueError: a file is missing or cannot be used, shows no face, the options contradict each other, or
            the model does not exist; or the GPU is to encode, and has no encoder.
    """
    _require_files(request.source, request.driving)
    run = open_run(params, root, inference, crop=request.options.crop)
    with progress("frames") as show:
        return animate_file(replace(run, progress=show), request)


def open_run(
    params: Params, root: Path, inference: Inference, model: ResolvedModel | None = None, *, crop: bool = True
) -> AnimationRun:
    """Load the model, and the face detector if the model and `crop` need it.

    Args:
        params: batch size and detector.
        root: folder that the detector's path is relative to.
        inference: which model, and how it is run.
        model: the files of that model; None finds them.
        crop: whether pictures are cropped.

    Raises:
        ValueError: the model or the detector is missing, or the GPU is to encode, and has no encoder.
    """
    hardware_encoding = takes_gpu_encoder(inference.video_encoder)
    model = model or _find_model(params, root, inference)
    animator = _load_animator(model, inference)
    cropper = _load_cropper(params, root, animator) if crop else None
    decoding = Decoding(hardware=inference.video_decoder == "gpu")
    return AnimationRun(
        animator,
        cropper,
        params.serve.batch_size,
        decoding,
        hardware_encoding,
        model.uri,
        partial(_direction_names, root, model),
    )


def run_extract(
    params: Params,
    root: Path,
    driving: Path,
    output: Path,
    inference: Inference,
    *,
    crop: bool,
    convert: bool,
) -> Motion:
    """Write the motion file of a driving clip; arguments as for `run_animate`.

    Raises:
        ValueError: the file is missing or cannot be used, shows no face, or the model does not exist.
    """
    _require_files(driving)
    animator = _load_animator(_find_model(params, root, inference), inference)
    cropper = _load_cropper(params, root, animator) if crop else None
    run = AnimationRun(animator, cropper, params.serve.batch_size)
    motion = extract_motion(run, driving, convert)
    write_motion(output, motion)
    return motion


def run_manipulate(
    params: Params, root: Path, request: ManipulationRequest, inference: Inference, *, crop: bool
) -> int:
    """Write the strips, videos and contact sheet; return the number of directions.

    Raises:
        ValueError: the file is missing or cannot be used, shows no face, a number is out of bounds, or the
            model does not exist.
    """
    _require_files(request.source)
    animator = _load_animator(_find_model(params, root, inference), inference)
    cropper = _load_cropper(params, root, animator) if crop else None
    return manipulate_file(animator, cropper, request)


def _direction_names(root: Path, model: ResolvedModel) -> dict[int, str]:
    """Return the names that users gave to the model's directions on the page."""
    registry = None if model.version is None else os.environ[URI]
    version = ModelVersion(name=model.name, version=model.version or "local")
    return open_names(version, registry, model.directory, ProjectPaths(root).runs / "serving").read()


def _require_files(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path} does not exist: give an image or a video")


def _find_model(params: Params, root: Path, inference: Inference) -> ResolvedModel:
    """Return the files of the model, and warn if it was trained on a video that was taken down since."""
    model = _resolve_model(params, inference)
    warn_of_forgotten(model, ProjectPaths(root).tombstones)
    return model


def _resolve_model(params: Params, inference: Inference) -> ResolvedModel:
    return resolve(inference.model or champion_uri(params.release.name))


def _load_animator(model: ResolvedModel, inference: Inference) -> Animator:
    keep_freed_memory()
    return Animator.load(model.directory, inference.device, inference.precision, inference.compilation)


def _load_cropper(params: Params, root: Path, animator: Animator) -> FaceCropper | None:
    detect = params.shards.detect

    def open_detector() -> FaceDetector:
        return FaceDetector(root / params.serve.detector, detect.min_score, detect.pad_px)

    return make_cropper(animator.crop, open_detector, detect.every_num_frames)
