"""The Ray Serve application, the only file here that imports Ray: one replica answers HTTP, one animates.

They share only the job store and the media folder, so either can crash and restart without affecting the
other. An application on a running cluster keeps running when the process that deployed it ends.
"""

import logging
from pathlib import Path

import torch
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import cluster_resources, serve
from ray.serve.handle import DeploymentHandle

from lia_model.animation.footage import Decoding
from lia_model.animation.framing import make_cropper
from lia_model.animation.media_check import MediaChecker
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.device.allocator import keep_freed_memory
from lia_model.serving.api import build_api
from lia_model.serving.cleanup import Cleanup
from lia_model.serving.job_requests import ApiLimits
from lia_model.serving.job_runner import JobRunner
from lia_model.serving.jobs import JobStore
from lia_model.serving.messages import ModelVersion
from lia_model.settings import Compilation, MediaLimits, VideoDecoder, VideoEncoder
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_hardware import takes_gpu_encoder

logger = logging.getLogger(__name__)

APPLICATION = "lia"


class ServingConfig(BaseModel):
    """Configuration of both replicas, with absolute paths, since their processes run in other folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Path
    """Checkpoint directory of the model."""
    model: ModelVersion
    """Its name and concrete version."""
    home: Path
    """Folder of the job store and of the uploads and their results."""
    root: Path
    """Folder under which batches may read and write."""
    token: str | None = Field(repr=False)
    """Required bearer token; None requires none."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Maximum number of queued jobs."""
    media: MediaLimits
    """Limits of the files that are animated."""
    keep_s: float
    """How long ended jobs and the results of uploads are kept."""
    batch_size: int
    """Driving frames per forward pass."""
    num_threads: int
    """CPU threads of the replica that animates."""
    compilation: Compilation
    """How the networks are compiled at start."""
    video_decoder: VideoDecoder
    """Where videos are decoded."""
    video_encoder: VideoEncoder
    """Where results are encoded."""
    detector: Path
    """Folder of the face detector; missing if the model needs none."""
    min_score: float
    """Minimum confidence of a detected face."""
    pad_px: int
    """Border added around a frame for detection."""
    every_num_frames: int
    """Detect faces in every k-th driving frame."""

    @property
    def jobs(self) -> Path:
        """The job store's file."""
        return self.home / "jobs.sqlite"

    @property
    def media_folder(self) -> Path:
        """Folder of the uploads and their results."""
        return self.home / "media"


def open_jobs(config: ServingConfig) -> JobStore:
    """Open the store that both replicas share."""
    return JobStore(config.jobs, root=config.root)


class AnimationReplica:
    """Runs jobs from the store in a thread of its own; Ray calls nothing but its health check."""

    def __init__(self, config: ServingConfig) -> None:
        """Load model and detector, and start the job runner."""
        keep_freed_memory()
        torch.set_num_threads(config.num_threads)
        animator = Animator.load(config.checkpoint, device="auto", compilation=config.compilation)
        if config.compilation != "none":
            animator.warm_up(config.batch_size)
        cropper = make_cropper(
            animator.crop,
            lambda: FaceDetector(config.detector, config.min_score, config.pad_px),
            config.every_num_frames,
        )
        run = AnimationRun(
            animator,
            cropper,
            config.batch_size,
            Decoding(hardware=config.video_decoder == "gpu"),
            takes_gpu_encoder(config.video_encoder),
        )
        jobs = open_jobs(config)
        self._cleanup = Cleanup(jobs, config.media_folder, config.keep_s)
        self._cleanup.start()
        self._runner = JobRunner(jobs, run, config.model, MediaChecker(config.media).check)
        self._runner.start()

    def check_health(self) -> None:
        """Raise if the thread has died, which makes Ray start another replica.

        Raises:
            RuntimeError: the thread has died.
        """
        if not self._runner.is_alive:
            raise RuntimeError("the thread that runs animation jobs has died")

    def __del__(self) -> None:
        """Queue the current job again."""
        if hasattr(self, "_runner"):
            self._runner.stop()
            self._cleanup.stop()


class AnimationApi:
    """Answers HTTP; it takes the other replica's handle only so that both form one application."""

    def __init__(self, config: ServingConfig, animation: DeploymentHandle) -> None:
        """Keep the configuration."""
        self._config = config
        self._animation = animation

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application, once per replica."""
        config = self._config
        limits = ApiLimits(
            root=config.root,
            media=config.media_folder,
            token=config.token,
            max_upload_bytes=config.max_upload_bytes,
            max_num_queued=config.max_num_queued,
        )
        return build_api(open_jobs(config), config.model, limits, MediaChecker(config.media).check)


def build_application(config: ServingConfig, num_gpus: float) -> serve.Application:
    """Return the application, whose animating replica reserves `num_gpus` GPUs of the cluster."""
    # Not as decorators: they replace the class, and Ray would then pickle its code instead of its name.
    animation = serve.deployment(
        num_replicas=1,
        graceful_shutdown_timeout_s=60,
        ray_actor_options={"num_cpus": 0.5, "num_gpus": num_gpus},
    )(AnimationReplica)
    api = serve.deployment(
        num_replicas=1,
        max_ongoing_requests=64,
        ray_actor_options={"num_cpus": 0.1},
    )(serve.ingress()(AnimationApi))
    return api.bind(config, animation.bind(config))


def deploy(config: ServingConfig, host: str, port: int) -> None:
    """Start Serve on the cluster this process is connected to and wait until the application answers.

    An application that already runs is replaced; its jobs are resumed.
    """
    num_gpus = min(1.0, cluster_resources().get("GPU", 0.0))
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    serve.run(build_application(config, num_gpus), name=APPLICATION, route_prefix="/")


def withdraw() -> None:
    """Remove the application from the cluster; queued jobs are kept for the next one."""
    serve.delete(APPLICATION)
