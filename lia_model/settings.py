"""The numbers of the model, its training, evaluation, release and serving, typed and frozen.

Values stand in params.yaml and in checkpoints, never here; a field's docstring gives its meaning and unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from preprocessing.settings import Settings

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Compilation = Literal["none", "inductor", "cuda-graphs"]
Unit = Annotated[float, Field(ge=0, le=1)]


class NetworkScale(Settings):
    """What makes a network small or large, apart from the size of its images."""

    width: Annotated[float, Field(gt=0, le=4)]
    """Factor on every channel count of all three networks; 1 is the published model."""
    latent_dim: Annotated[int, Field(ge=8)]
    """Length of the latent code and of the decoder's styles; published 512."""
    num_directions: Annotated[int, Field(ge=1)]
    """Columns of the motion dictionary; published 20."""

    def at(self, size_px: int) -> NetworkSettings:
        """Return the settings of this network for square images of `size_px`."""
        return NetworkSettings.model_validate(self.model_dump() | {"size_px": size_px})


class NetworkSettings(NetworkScale):
    """All that decides the shapes of generator and discriminator; a checkpoint carries it."""

    size_px: Literal[32, 64, 128, 256, 512, 1024]
    """Side of the square images."""


class PerceptualSettings(Settings):
    """Distance between images in the features of a frozen network."""

    backbone: Literal["vgg16", "vgg19", "alexnet"]
    """Which network; its name is recorded beside every loss."""
    weights: Path
    """Safetensors file with that network's convolutions."""
    weight: Annotated[float, Field(ge=0)]
    """Factor in the generator's loss; 0 leaves the term out. Published: 10."""
    every_steps: Annotated[int, Field(ge=1)]
    """The term enters every n-th step only, times n; 1 is the published recipe."""


class R1Settings(Settings):
    """R1 penalty of the discriminator on real images, taken lazily (Karras et al. 2020, appendix B)."""

    weight: Annotated[float, Field(ge=0)]
    """Factor on half the squared gradient; 0 leaves the penalty out, as published. StyleGAN2: 10."""
    every_turns: Annotated[int, Field(ge=1)]
    """The penalty enters every n-th turn of the game only, times n. StyleGAN2: 16."""


class AdversarialSettings(Settings):
    """The game against the discriminator."""

    weight: Annotated[float, Field(ge=0)]
    """Factor in the generator's loss; 0 leaves the discriminator out. Published: 1."""
    start_step: Annotated[int, Field(ge=0)]
    """The step at which the discriminator joins; 0 is the published recipe."""
    every_steps: Annotated[int, Field(ge=1)]
    """The game is played every n-th step only; 1 is the published recipe."""
    r1: R1Settings
    """Penalty that keeps the discriminator smooth."""


class LossSettings(Settings):
    """The generator's loss: l1 + perceptual + adversarial (Wang et al. 2022, section 3.4)."""

    l1_weight: Annotated[float, Field(ge=0)]
    """Factor of the mean absolute pixel difference."""
    perceptual: PerceptualSettings
    """The perceptual term."""
    adversarial: AdversarialSettings
    """The adversarial term."""


PAPER_OPTIMIZER = {
    "generator_lr": 0.002,
    "discriminator_lr": 0.002,
    "warmup_steps": 0,
    "decay_steps": 0,
    "max_gradient_norm": None,
}
"""What the single word `paper` stands for: Wang et al. 2022, section 4, and lia.md section 6."""


class OptimizerSettings(Settings):
    """Adam with StyleGAN2's factors for lazy regularisation; the word `paper` is the published recipe."""

    generator_lr: Annotated[float, Field(gt=0)]
    """Learning rate of the generator before the factor 4/5; published 0.002."""
    discriminator_lr: Annotated[float, Field(gt=0)]
    """Learning rate of the discriminator before the factor 16/17; published 0.002."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps over which both rates rise linearly from 0; published 0."""
    decay_steps: Annotated[int, Field(ge=0)]
    """Last steps over which both rates fall to 0 along half a cosine; published 0."""
    max_gradient_norm: Annotated[float, Field(gt=0)] | None
    """Longer gradients of a network are shortened to this length; null leaves them, as published."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        if isinstance(value, str):
            if value != "paper":
                raise ValueError(f"got optimizer {value!r}; it is 'paper' or a mapping: write one of them")
            return PAPER_OPTIMIZER
        return value


class AugmentationSettings(Settings):
    """Random changes of a pair, the same on both frames; all off for faces, on for bodies."""

    flip: bool
    """Mirror every second pair, left to right."""
    brightness: Unit
    """Brightness is multiplied by 1 ± at most this; published 0.1 for Taichi and TED, 0 for VoxCeleb."""
    contrast: Unit
    """Contrast likewise."""
    saturation: Unit
    """Saturation likewise."""
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Hue is turned by at most this share of the colour circle."""

    @property
    def changes_anything(self) -> bool:
        """Tell whether any of them is on."""
        return any(self.model_dump().values())


class InitialFlowSettings(Settings):
    """How far the decoder warps before it has learnt to: the published start tears the source apart."""

    scale: Unit
    """Factor on the flow branches' fresh weights; published 1, near 0 the source stays in place."""
    mask_bias: float
    """Start of the mask before its sigmoid; published 0, half source and half decoder."""


class TrainSettings(Settings):
    """One training run."""

    seed: Annotated[int, Field(ge=0)]
    """Weights, pairs and their order are a function of it."""
    num_workers: Annotated[int, Field(ge=1)]
    """Processes of the data-parallel training, one GPU each with `use_gpu`."""
    num_threads: Annotated[int, Field(ge=1)]
    """CPU threads of each process."""
    use_gpu: bool
    """Train on CUDA devices."""
    num_steps: Annotated[int, Field(ge=1)]
    """Optimizer updates in all; published 800 000."""
    batch_size_per_worker: Annotated[int, Field(ge=1)]
    """Pairs a step and process; published 8 on 8 processes."""
    pairs_per_visit: Annotated[int, Field(ge=1)]
    """Pairs drawn from a clip each time it is visited; divides the batch. Published 1; more read the shards
    in fewer places, for storage that seeks slowly, and put fewer different clips into a batch."""
    init_from: str | None
    """Checkpoint directory to start from, or null for fresh weights."""
    precision: Literal["fp32", "bf16"]
    """bf16 computes under autocast, weights and losses stay fp32."""
    network: NetworkScale
    """Width of the networks; their image size is that of the shards."""
    augmentation: AugmentationSettings
    """Random changes of the pairs."""
    initial_flow: InitialFlowSettings
    """Where fresh weights start; without meaning when `init_from` is given."""
    losses: LossSettings
    """Terms of the loss."""
    optimizer: OptimizerSettings
    """Learning rates."""
    ema_decay: Unit
    """Decay a step of the averaged, released generator; 0 releases the last weights, as published."""
    log_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the logged losses."""
    strip_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the logged sample pictures."""
    checkpoint_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the checkpoints that a killed run resumes from."""
    num_kept_checkpoints: Annotated[int, Field(ge=1)]
    """How many of them stay on disk."""

    @model_validator(mode="after")
    def _has_whole_visits(self) -> TrainSettings:
        if self.batch_size_per_worker % self.pairs_per_visit:
            raise ValueError(
                f"got pairs_per_visit {self.pairs_per_visit} and batch_size_per_worker "
                f"{self.batch_size_per_worker}; a batch holds whole visits; choose a divisor of the batch"
            )
        return self


class CrossIdentitySettings(Settings):
    """Transfer of a held-out clip's motion to faces of other people."""

    num_sources_per_clip: Annotated[int, Field(ge=0)]
    """Source faces each driving clip animates, each of another identity; 0 leaves the protocol out."""
    mode: Literal["relative", "absolute"]
    """Motion mode; relative is the field's choice."""


class FaceMetricSettings(Settings):
    """Landmarks and identities, by which results are compared as faces."""

    detector: Path
    """Directory with the face detector's ONNX file."""
    models: Path
    """Directory with dlib's landmark and identity networks."""
    min_score: Unit
    """Least confidence of a face; below it a face counts as missed."""
    max_num_frames_per_clip: Annotated[int, Field(ge=1)]
    """Frames in which faces are read, about 0.2 s each; longer clips are thinned evenly."""


class EvaluateSettings(Settings):
    """Same-identity reconstruction and cross-identity transfer on held-out clips."""

    seed: Annotated[int, Field(ge=0)]
    """Choice of cross-identity pairs, and the bootstrap."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames a forward pass."""
    max_num_frames_per_clip: Annotated[int, Field(ge=1)]
    """Frames compared in each clip; longer clips are thinned evenly."""
    lpips: Path
    """Safetensors file with AlexNet and LPIPS's linear heads."""
    device: str
    """Where it computes: cpu, cuda, cuda:N; auto takes a GPU where there is one."""
    precision: Precision
    """Arithmetic of the generator; metrics are always fp32."""
    baselines: tuple[str, ...]
    """Models measured beside ours: checkpoint directories or models:/ URIs."""
    cross_identity: CrossIdentitySettings
    """Which pairs of people."""
    faces: FaceMetricSettings
    """How faces are read."""
    num_resamples: Annotated[int, Field(ge=100)]
    """Bootstrap samples behind each interval."""
    fid_features: Path | None
    """TorchScript of Inception, images to features; null leaves FID out."""
    fvd_features: Path | None
    """TorchScript of I3D, videos of 16 frames to features; null leaves FVD out."""


class ReleaseSettings(Settings):
    """Registration and the gate before the champion alias."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    """Registered model's name."""
    allow_by_time: bool
    """Accept a held-out list that is split by time and so not identity-disjoint; for the demo alone."""


class ServeSettings(Settings):
    """The animation service."""

    batch_size: Annotated[int, Field(ge=1)]
    """Driving frames a forward pass."""
    num_threads: Annotated[int, Field(ge=1)]
    """CPU threads of the replica that animates."""
    max_upload_bytes: Annotated[int, Field(gt=0)]
    """Largest request body; a larger one is answered 413."""
    max_num_queued: Annotated[int, Field(ge=1)]
    """Jobs waiting; above it a submission is answered 429."""
    detector: Path
    """Directory with the face detector's ONNX file."""
    compilation: Compilation
    """inductor compiles the networks at start, cuda-graphs also records them (CUDA); minutes of warm-up."""
    hardware_video: bool
    """Decode and encode video on an NVIDIA GPU."""
