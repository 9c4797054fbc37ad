"""Settings of the animation service, section `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from lia_model.settings.choices import Compilation, VideoDecoder, VideoEncoder
from preprocessing.settings import Settings


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

    database: str | None
    """URL of the database with the jobs, `sqlite:///FILE` or `postgresql://HOST/NAME`; null is a SQLite file
    in runs/serving. Without a password, which goes into LIA_DATABASE_URL."""
    media_store: str | None
    """URL of an object store for uploads and their results, such as s3://bucket/animations, which machines
    that share no disk need; null keeps them in runs/serving. Keys and endpoint come from AWS_* variables."""
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
