"""Settings of training, section `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lia_model.settings.choices import Unit
from lia_model.settings.losses import LossSettings
from lia_model.settings.network import NetworkScale
from preprocessing.settings import Settings

Balance = Literal["clip", "person", "frames"]
"""See `SamplingSettings.balance`."""
Gap = Literal["uniform", "yaw"]
"""See `SamplingSettings.gap`."""
NumWorkers = Annotated[int, Field(ge=1)]
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
    compile: bool
    """Compile both networks with torch.compile (Inductor). The first steps of a process take minutes; on a
    CPU at the demo's size the others are not faster, and on a GPU this is untested. Results change in
    rounding. Updates with the R1 penalty run without it. Needs a C++ compiler and Python's headers."""
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
