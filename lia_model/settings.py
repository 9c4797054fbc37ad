"""Settings of the model, its training, evaluation, release and serving, typed and frozen.

Values are in params.yaml and in checkpoints, never here; a field's docstring gives its meaning and unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from preprocessing.settings import Settings

Mode = Literal["relative", "absolute"]
"""Motion relative to the driving clip's starting frame, or absolute."""
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Compilation = Literal["none", "inductor", "cuda-graphs"]
VideoDecoder = Literal["cpu", "gpu"]
VideoEncoder = Literal["cpu", "gpu", "auto"]
Balance = Literal["clip", "person", "frames"]
"""See `SamplingSettings.balance`."""
Gap = Literal["uniform", "yaw"]
"""See `SamplingSettings.gap`."""
Unit = Annotated[float, Field(ge=0, le=1)]
NumWorkers = Annotated[int, Field(ge=1)]


class NetworkScale(Settings):
    """The size of a network, apart from the size of its images."""

    width: Annotated[float, Field(gt=0, le=4)]
    """Factor on all channel counts of the three networks; 1 is the published model."""
    latent_dim: Annotated[int, Field(ge=8)]
    """Length of the latent code and of the decoder's styles; published 512."""
    num_directions: Annotated[int, Field(ge=1)]
    """Columns of the motion dictionary; published 20."""

    def at(self, size_px: int) -> NetworkSettings:
        """Return the settings of a network of this scale for square images of side `size_px`."""
        return NetworkSettings.model_validate(self.model_dump() | {"size_px": size_px})


class NetworkSettings(NetworkScale):
    """Everything that determines the shapes of generator and discriminator; stored in checkpoints."""

    size_px: Literal[32, 64, 128, 256, 512, 1024]
    """Side of the square images."""


class TermSettings(Settings):
    """Settings of a loss term; a term with settings of its own derives from this class in its own file."""

    weight: Annotated[float, Field(ge=0)]
    """Factor in the loss; 0 leaves the term out."""
    every_steps: Annotated[int, Field(ge=1)]
    """The term takes part in every n-th step, with n times its weight."""


class PerceptualSettings(TermSettings):
    """Distance between images in the features of a frozen network; published with weight 10 in every step."""

    backbone: Literal["vgg16", "vgg19", "alexnet"]
    """The network; its name is part of the logged loss's name."""
    weights: Path
    """Safetensors file with the network's convolutions."""
    precision: Literal["auto", "fp32", "bf16"]
    """What the network computes in; auto is bf16 where the device has it natively, and fp32 elsewhere."""


class R1Settings(Settings):
    """R1 penalty of the discriminator on real images, computed lazily (Karras et al. 2020, appendix B)."""

    weight: Annotated[float, Field(ge=0)]
    """Factor on half the squared gradient; 0 leaves the penalty out, as published. StyleGAN2: 10."""
    every_turns: Annotated[int, Field(ge=1)]
    """The penalty takes part in every n-th update of the discriminator, times n. StyleGAN2: 16."""


class AdversarialSettings(Settings):
    """Adversarial training against the discriminator."""

    weight: Annotated[float, Field(ge=0)]
    """Factor in the generator's loss; 0 leaves the discriminator out. Published: 1."""
    start_step: Annotated[int, Field(ge=0)]
    """First step of adversarial training; published 0."""
    every_steps: Annotated[int, Field(ge=1)]
    """The adversarial term and the discriminator's update take part in every n-th step; published 1."""
    r1: R1Settings


class LossSettings(Settings):
    """Loss terms: l1 + perceptual + adversarial (Wang et al. 2022, section 3.4), and any added ones.

    A further key holds the settings of the term registered under it (see `lia_model.losses.terms`, which
    checks them).
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    l1_weight: Annotated[float, Field(ge=0)]
    """Factor on the mean absolute pixel difference."""
    perceptual: PerceptualSettings
    adversarial: AdversarialSettings


PAPER_OPTIMIZER = {
    "generator_lr": 0.002,
    "discriminator_lr": 0.002,
    "warmup_steps": 0,
    "decay_steps": 0,
    "max_gradient_norm": None,
}
"""What the word `paper` stands for: the published recipe (Wang et al. 2022, section 4)."""


class OptimizerSettings(Settings):
    """Adam with StyleGAN2's factors for lazy regularisation; the word `paper` is the published recipe."""

    generator_lr: Annotated[float, Field(gt=0)]
    """Learning rate of the generator before the factor 4/5; published 0.002."""
    discriminator_lr: Annotated[float, Field(gt=0)]
    """Learning rate of the discriminator before the factor 16/17; published 0.002."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps over which both rates rise linearly from 0; published 0."""
    decay_steps: Annotated[int, Field(ge=0)]
    """Number of last steps over which both rates fall to 0 along half a cosine; published 0."""
    max_gradient_norm: Annotated[float, Field(gt=0)] | None
    """Gradients of a network are clipped to this length; null does not clip, as published."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        if isinstance(value, str):
            if value != "paper":
                raise ValueError(f"got optimizer {value!r}; allowed are 'paper' and a mapping: write either")
            return PAPER_OPTIMIZER
        return value


class AugmentationSettings(Settings):
    """Random changes of a pair, the same on both frames; off for faces and on for bodies, as published."""

    flip: bool
    """Mirror pairs left to right, with probability 1/2."""
    brightness: Unit
    """Colours are multiplied by 1 ± at most this; published 0.1 for Taichi and TED, 0 for VoxCeleb."""
    contrast: Unit
    """Distances from the pair's mean luma are multiplied by 1 ± at most this."""
    saturation: Unit
    """Distances from each pixel's luma are multiplied by 1 ± at most this."""
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Hues are rotated by at most this fraction of the colour circle."""

    @property
    def changes_anything(self) -> bool:
        """Return whether any change is on."""
        return any(self.model_dump().values())


class SamplingSettings(Settings):
    """Which pairs of frames are drawn how often."""

    balance: Balance
    """What an epoch visits once: every `clip`, as published; every `person`, in one clip at a time, where few
    people have most clips; or every one of the `frames`, so that long clips are visited more often. A clip
    without an identity counts as a person for each source."""
    gap: Gap
    """How the driving frame is drawn: `uniform` over the clip, as published; or by `yaw`, so that large
    turns of the head are as frequent as small ones, as far as the clip has them. Yaw is measured where
    `lia shards` detects faces, every few frames, and interpolated between."""


class InitialFlowSettings(Settings):
    """The decoder's flow at initialisation; the published one distorts the source strongly."""

    scale: Unit
    """Factor on the fresh weights of the flow branches; published 1. Near 0 the source stays in place."""
    mask_bias: float
    """Initial mask before its sigmoid; published 0, which mixes source and decoder features equally."""


class ShardCacheSettings(Settings):
    """Where a machine keeps the shards that it fetches from LIA_STORE_URL; unused where they lie on disk."""

    folder: str
    """Folder on each machine that trains, for all its runs; ~ is the home of the user there."""
    max_bytes: Annotated[int, Field(gt=0)]
    """Most bytes in it; shards that no training reads make room for those of a new one."""


class ValidationSettings(Settings):
    """Which held-out pairs a run is validated on, and which score is the best."""

    metric: Literal["l1", "lpips"]
    """Its lowest value on the held-out pairs chooses the weights that are released."""
    max_num_clips: Annotated[int, Field(ge=1)]
    """Held-out clips; more are sampled evenly."""
    max_num_frames_per_clip: Annotated[int, Field(ge=1)]
    """Frames of each clip: evenly spaced ones, and the one that is turned farthest from its source."""
    lpips: Path
    """Safetensors file with AlexNet and the linear heads of LPIPS; without it L1 alone is measured."""


class TrainSettings(Settings):
    """One training run."""

    seed: Annotated[int, Field(ge=0)]
    """Determines the initial weights, the pairs and their order."""
    num_workers: NumWorkers | tuple[NumWorkers, NumWorkers]
    """Data-parallel processes, each with one GPU if `use_gpu`; or [least, most], as many as the cluster has
    room for, also when its size changes."""
    num_threads: Annotated[int, Field(ge=1)]
    """CPU threads of each process."""
    use_gpu: bool
    """Train on CUDA devices."""
    num_steps: Annotated[int, Field(ge=1)]
    """Optimizer updates in total; published 800 000."""
    global_batch_size: Annotated[int, Field(ge=1)]
    """Pairs per step, over all processes; published 64."""
    micro_batch_size: Annotated[int, Field(ge=1)]
    """Pairs in one forward pass; divides the global batch. Published 8. The minibatch deviation's groups lie
    within it. A process with several micro-batches accumulates their gradients."""
    pairs_per_visit: Annotated[int, Field(ge=1)]
    """Pairs drawn from a clip per visit; divides the micro-batch. Published 1. Larger values read the shards
    in fewer places, for storage that seeks slowly, but put fewer different clips into a batch."""
    sampling: SamplingSettings
    shard_cache: ShardCacheSettings
    init_from: str | None
    """Checkpoint directory or models:/ URI to start from, or null for fresh weights."""
    precision: Literal["auto", "fp32", "tf32", "bf16"]
    """fp32 is exact; tf32 rounds the factors of products (NVIDIA GPUs); bf16 runs the trained networks under
    autocast, with weights and losses in fp32; auto is bf16 where the device has it natively, else fp32. On a
    CPU bf16 is the slower one below width 0.125. The R1 penalty is computed in fp32 always."""
    deterministic: bool
    """Repeat bit for bit on a GPU too, more slowly. Without it, the gradients of the warp and some of CUDA's
    own sums differ in the last bits from run to run. On CPUs all is exact for one number of workers."""
    network: NetworkScale
    """The image size is that of the shards."""
    augmentation: AugmentationSettings
    initial_flow: InitialFlowSettings
    """Ignored if `init_from` is set."""
    losses: LossSettings
    optimizer: OptimizerSettings
    ema_decay: Unit
    """Decay per step of the averaged generator, which is released; 0 releases the last weights, as
    published."""
    log_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the logged losses."""
    strip_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the logged sample pictures."""
    checkpoint_every_steps: Annotated[int, Field(ge=1)]
    """Interval of the checkpoints that an interrupted run resumes from."""
    num_kept_checkpoints: Annotated[int, Field(ge=1)]
    """Newest checkpoints that stay on disk."""
    milestone_every_steps: Annotated[int, Field(ge=0)]
    """Interval of the checkpoints that stay for good, a multiple of `checkpoint_every_steps`; 0 for none."""
    validate_every_steps: Annotated[int, Field(ge=0)]
    """Interval of the validations on held-out clips, each of a checkpoint of its own; the last weights are
    validated too. 0 validates nothing and releases the last weights."""
    validation: ValidationSettings

    @model_validator(mode="after")
    def _has_milestones_among_checkpoints(self) -> TrainSettings:
        if self.milestone_every_steps % self.checkpoint_every_steps:
            raise ValueError(
                f"got milestone_every_steps {self.milestone_every_steps} and checkpoint_every_steps "
                f"{self.checkpoint_every_steps}; the second has to divide the first: choose a multiple, or 0"
            )
        return self

    @model_validator(mode="after")
    def _can_share_out_the_batch(self) -> TrainSettings:
        batch, micro, workers = self.global_batch_size, self.micro_batch_size, self.num_workers
        if isinstance(workers, tuple) and workers[0] > workers[1]:
            raise ValueError(f"got num_workers {list(workers)}; it is [least, most]: exchange the two")
        _require_divisor("micro_batch_size", micro, "global_batch_size", batch)
        _require_divisor("pairs_per_visit", self.pairs_per_visit, "micro_batch_size", micro)
        if self.max_num_workers > batch // micro:
            raise ValueError(
                f"got num_workers {self.max_num_workers} and {batch // micro} micro-batches, {batch} / "
                f"{micro}; every worker needs one: lower num_workers or micro_batch_size"
            )
        return self

    @property
    def max_num_workers(self) -> int:
        """Return the largest number of processes."""
        return self.num_workers[1] if isinstance(self.num_workers, tuple) else self.num_workers


def _require_divisor(name: str, value: int, whole_name: str, whole: int) -> None:
    if whole % value:
        raise ValueError(
            f"got {name} {value} and {whole_name} {whole}; the first has to divide the second: correct either"
        )


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


class ReleaseSettings(Settings):
    """Registration, and the gate of the champion alias."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    """Registered model's name."""
    allow_by_time: bool
    """Let held-out clips decide that are split by time and so show people of the training clips; for the demo
    only. Whether they decided is recorded with the version."""
    metric: Literal["l1", "lpips", "akd"]
    """In which a challenger has to beat the champion, with an interval that excludes 0."""


class MediaLimits(Settings):
    """What the animation service reads of a file that somebody sent; a larger one is refused."""

    max_pixels: Annotated[int, Field(gt=0)]
    """Most pixels of a picture or a frame; JPEG pictures may have more, since they are read reduced."""
    max_num_frames: Annotated[int, Field(ge=1)]
    """Most frames of a video or an animated picture."""
    max_duration_s: Annotated[float, Field(gt=0)]
    """Longest video or animated picture."""
    check_timeout_s: Annotated[float, Field(gt=0)]
    """Longest time that the process which checks a file may take, its start included."""
    check_memory_bytes: Annotated[int, Field(gt=0)]
    """Most memory of that process."""


class RequestLimits(Settings):
    """How many requests the animation service answers, and how slowly they may come."""

    max_num_uploads: Annotated[int, Field(ge=1, le=32)]
    """Requests with a body that are received at a time; a further one gets status 429. Each may take one
    of the server's 40 threads."""
    max_pause_s: Annotated[float, Field(gt=0)]
    """Longest time without a byte of a body, which then gets status 408."""
    min_bytes_per_s: Annotated[int, Field(ge=1)]
    """Slowest body, from `max_pause_s` on."""
    max_requests_per_s: Annotated[float, Field(gt=0)]
    """Requests of one client address; more get status 429."""


class ServeSettings(Settings):
    """The animation service."""

    batch_size: Annotated[int, Field(ge=1)]
    """Driving frames per forward pass."""
    num_threads: Annotated[int, Field(ge=1)]
    """CPU threads of the replica that animates."""
    max_upload_bytes: Annotated[int, Field(gt=0)]
    """Largest request body; a larger one gets status 413."""
    max_num_queued: Annotated[int, Field(ge=1)]
    """Most queued uploads; a further one gets status 429."""
    max_num_batch_items: Annotated[int, Field(ge=1)]
    """Most items of batches that are queued, and most of one batch; they wait for uploads."""
    batch_inputs: tuple[Path, ...]
    """Folders that batches read from, relative to the project."""
    batch_outputs: tuple[Path, ...]
    """Folders that batches write to, relative to the project; none may hold the project itself."""
    media: MediaLimits
    """Limits of uploaded files and of those that a batch names."""
    keep_hours: Annotated[float, Field(gt=0)]
    """How long the service keeps ended jobs and the results of uploads; batch results are never deleted."""
    requests: RequestLimits
    """Limits of requests."""
    detector: Path
    """Directory with the face detector's ONNX file."""
    compilation: Compilation
    """inductor compiles the networks at start, for minutes; cuda-graphs records their launches (CUDA)."""
    video_decoder: VideoDecoder
    """gpu decodes on an NVIDIA GPU, and on the CPU what that cannot."""
    video_encoder: VideoEncoder
    """gpu needs an NVIDIA GPU that encodes, as data centre cards do not; auto uses one where there is one."""
