"""Settings of the animation service, section `serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lia_model.settings.choices import Compilation, VideoDecoder, VideoEncoder
from preprocessing.settings import Settings

MAX_DRAIN_S = 600.0
"""Longest time for which a stopped replica goes on with its job."""


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


class ReplicaRange(Settings):
    """How many replicas animate; each takes one GPU where there are any."""

    min: Annotated[int, Field(ge=1)]
    """Fewest."""
    max: Annotated[int, Field(ge=1)]
    """Most; the same as `min` never changes their number."""
    jobs_per_replica: Annotated[float, Field(gt=0)]
    """Jobs that wait or run for each replica there is; with more, replicas are added."""
    up_delay_s: Annotated[float, Field(ge=0)]
    """How long more replicas must have been wanted before they start."""
    down_delay_s: Annotated[float, Field(ge=0)]
    """How long fewer replicas must have been wanted before some stop."""

    @model_validator(mode="after")
    def _check(self) -> ReplicaRange:
        if self.max < self.min:
            raise ValueError(f"got max {self.max} below min {self.min}; raise max, or lower min")
        return self


class ServeSettings(Settings):
    """The animation service."""

    database: str | None
    """URL of the database with the jobs, `sqlite:///FILE` or `postgresql://HOST/NAME`; null is a SQLite file
    in runs/serving. Without a password, which goes into LIA_DATABASE_URL."""
    media_store: str | None
    """URL of an object store for uploads and their results, such as s3://bucket/animations, where they
    outlive the machine and a service elsewhere with the same database finds them; null keeps them in
    runs/serving. Keys and endpoint come from AWS_* variables."""
    batch_size: Annotated[int, Field(ge=1)]
    """Driving frames per forward pass."""
    replicas: ReplicaRange
    """How many replicas animate."""
    num_jobs_at_once: Annotated[int, Field(ge=1, le=64)] | Literal["auto"]
    """Jobs that a replica animates at a time, their frames in common batches; auto is 4 on a GPU, and 1 on a
    CPU, where more gain nothing."""
    max_num_models: Annotated[int, Field(ge=1)]
    """Versions, asked for by jobs, that a replica keeps in memory beside the one it started with."""
    drain_s: Annotated[float, Field(ge=0, le=MAX_DRAIN_S)]
    """How long a replica that is stopped goes on with its job; then the job is queued again, which counts as
    no failure."""
    shared_storage: bool
    """Whether every machine of the cluster sees the project's folder at the same path and the database is
    PostgreSQL, so that replicas may run on all of them; if not, they run on the head's machine alone."""
    num_threads: Annotated[int, Field(ge=1)] | Literal["auto"]
    """CPU threads of each replica that animates; auto divides the cores among `replicas.max`."""
    max_upload_bytes: Annotated[int, Field(gt=0)]
    """Largest request body; a larger one gets status 413."""
    max_num_queued: Annotated[int, Field(ge=1)]
    """Most queued uploads; a further one gets status 429."""
    max_num_batch_items: Annotated[int, Field(ge=1)]
    """Most items of batches that are queued, and most of one batch; they wait for uploads."""
    batch_inputs: tuple[Path, ...]
    """Folders that batches read from, relative to the project."""
    batch_outputs: tuple[Path, ...]
    """Folders that batches write to, relative to the project; none may hold the project itself. A token of
    another scope than admin writes to the folder of its name in them."""
    media: MediaLimits
    """Limits of uploaded files and of those that a batch names."""
    keep_hours: Annotated[float, Field(gt=0)]
    """How long the service keeps ended jobs and the results of uploads; batch results are never deleted."""
    max_stored_bytes: Annotated[int, Field(gt=0)]
    """Most bytes of uploads that wait and of their results. The oldest results make room within half a
    minute; an upload that does not fit beside those that wait gets status 429."""
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

    def replica_threads(self) -> int:
        """Return the CPU threads of each replica that animates."""
        if self.num_threads == "auto":
            return max(1, (os.cpu_count() or 1) // self.replicas.max)
        return self.num_threads
