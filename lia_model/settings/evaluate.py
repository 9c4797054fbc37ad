"""Settings of evaluation and release, sections `evaluate` and `release`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lia_model.settings.choices import Mode, Precision, Unit
from preprocessing.settings import Settings


class CrossIdentitySettings(Settings):
    """Transfer of a held-out clip's motion to faces of other identities."""

    num_sources_per_clip: Annotated[int, Field(ge=0)]
    """Source faces that each driving clip animates, all of different identities; 0 skips the protocol."""
    mode: Mode
    """Motion mode; papers report relative motion."""


class FaceMetricSettings(Settings):
    """How landmarks and identities are read from faces, for the metrics that compare them."""

    detector: Path
    """Directory with the face detector's ONNX file."""
    models: Path
    """Directory with dlib's landmark and identity networks."""
    min_score: Unit
    """Lowest confidence of a detection; a face below it counts as missed."""
    max_num_frames_per_clip: Annotated[int, Field(ge=1)]
    """Frames in which faces are read, at about 0.2 s each; longer clips are sampled evenly."""


class EvaluateSettings(Settings):
    """Same-identity reconstruction and cross-identity transfer on held-out clips."""

    seed: Annotated[int, Field(ge=0)]
    """Determines the cross-identity pairs and the bootstrap samples."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per forward pass."""
    max_num_frames_per_clip: Annotated[int, Field(ge=1)]
    """Frames compared in each clip; longer clips are sampled evenly."""
    lpips: Path
    """Safetensors file with AlexNet and the linear heads of LPIPS."""
    device: str
    """cpu, cuda or cuda:N; auto uses a GPU if one is available."""
    precision: Precision
    """Precision of the generator, with tf32 as in training; metrics are always computed in fp32."""
    baselines: tuple[str, ...]
    """Models measured beside the trained one: checkpoint directories or models:/ URIs."""
    cross_identity: CrossIdentitySettings
    faces: FaceMetricSettings
    num_resamples: Annotated[int, Field(ge=100)]
    """Bootstrap samples behind each interval."""
    fid_features: Path | None
    """TorchScript file of Inception, images to features; null skips FID."""
    fvd_features: Path | None
    """TorchScript file of I3D, videos of 16 frames to features; null skips FVD."""


class CostSettings(Settings):
    """Time and memory of a challenger, measured beside the champion's in processes of their own."""

    num_frames: Annotated[int, Field(ge=1)]
    """Frames animated in each round."""
    num_rounds: Annotated[int, Field(ge=1)]
    """Rounds, in which challenger and champion take turns; the median counts."""
    max_latency_ratio: Annotated[float, Field(ge=1)]
    """How many times the champion's milliseconds a frame a challenger may take."""
    max_memory_ratio: Annotated[float, Field(ge=1)]
    """How many times the champion's peak memory a challenger may take: of the GPU if it computes there,
    otherwise of the whole process."""


class GoldenSettings(Settings):
    """The pair whose result is kept with a version, and computed again wherever the version is loaded."""

    num_frames: Annotated[int, Field(ge=1)]
    """Driving frames of the pair."""
    max_difference: Annotated[float, Field(gt=0, le=255)]
    """Largest mean absolute difference from the kept result, in levels of 0 to 255; devices and precisions
    differ by less than one."""


class ReleaseSettings(Settings):
    """Registration, and the gate of the champion alias."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    """Registered model's name."""
    allow_by_time: bool
    """Let held-out clips decide that are split by time and so show people of the training clips; for the demo
    only. Whether they decided is recorded with the version."""
    metric: Literal["l1", "lpips", "akd"]
    """In which a challenger has to beat the champion, with an interval that excludes 0."""
    cost: CostSettings | None
    """Limits of time and memory; null measures neither."""
    golden: GoldenSettings
    """The pair by which a loaded version is recognised."""
