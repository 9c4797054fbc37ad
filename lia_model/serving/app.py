"""The Ray Serve application, the only file here that imports Ray: one replica answers HTTP, one animates.

The first listens itself: Ray's proxy would answer `/-/routes` to anybody, keep its address after the
application has ended, and hold in memory whatever a client sends, refused or not. The replicas share only the
job store, the media folder and a heartbeat, so either can crash and restart without affecting the other. An
application on a running cluster keeps running when the process that deployed it ends.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from ray import cluster_resources, serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from lia_model.animation.footage import Decoding
from lia_model.animation.framing import make_cropper
from lia_model.animation.media_check import MediaChecker
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.device.allocator import keep_freed_memory
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.batch_folders import BatchFolders
from lia_model.serving.database import open_database
from lia_model.serving.http.access import is_loopback
from lia_model.serving.http.server import HttpServer
from lia_model.serving.interactive.direction_names import DirectionNames, NamesInFile, NamesInRegistry
from lia_model.serving.interactive.live_model import FramedPicture, LiveModel, PictureFormat
from lia_model.serving.interactive.live_requests import LiveRequests, LiveTimeoutError
from lia_model.serving.interactive.routes import live_routes
from lia_model.serving.interactive.samples import samples_routes
from lia_model.serving.job_requests import ApiLimits
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import Error, ModelVersion
from lia_model.settings import Compilation, MediaLimits, RequestLimits, VideoDecoder, VideoEncoder
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.boxes import Box
from preprocessing.media.video_hardware import takes_gpu_encoder
from preprocessing.storage.files import file_sha256

logger = logging.getLogger(__name__)

APPLICATION = "lia"
LIVE_TIMEOUT_S = 60.0
"""How long a live call may take; the first one waits for the model to be loaded."""


class ServingConfig(BaseModel):
    """Configuration of both replicas, with absolute paths, since their processes run in other folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Path
    """Checkpoint directory of the model."""
    model: ModelVersion
    """Its name and concrete version."""
    registry: str | None = None
    """URI of the MLflow store that the model was registered in; None for a checkpoint folder."""
    samples: Path | None = None
    """Folder of the sample clips that the page offers; None or a missing one offers none."""
    home: Path
    """Folder of the uploads and their results."""
    database: str = Field(repr=False)
    """URL of the database with the jobs."""
    folders: BatchFolders
    """Folders that batches may use."""
    token: str | None = Field(repr=False)
    """A bearer token that is not in the file, with the scope admin; None has none."""
    token_file: Path
    """Where the other tokens are kept; it may be missing."""
    max_upload_bytes: int
    """Largest request body."""
    max_num_queued: int
    """Most queued uploads."""
    max_num_batch_items: int
    """Most queued items of batches."""
    media: MediaLimits
    """Limits of the files that are animated."""
    keep_s: float
    """How long ended jobs and the results of uploads are kept."""
    max_stored_bytes: int
    """Most bytes of uploads that wait and of their results."""
    requests: RequestLimits
    """Limits of requests."""
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
    def media_folder(self) -> Path:
        """Folder of the uploads and their results."""
        return self.home / "media"


def open_jobs(config: ServingConfig) -> JobStore:
    """Open the store that both replicas share."""
    return JobStore(open_database(config.database), root=config.folders.root)


def heartbeat(config: ServingConfig) -> Heartbeat:
    """Return the heartbeat that both replicas share."""
    return Heartbeat(config.home / "worker")


class AnimationReplica:
    """Runs jobs from the store in a thread of its own; live calls come through Ray."""

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
        # Neither compiled nor recorded, since jobs run in another thread.
        live = Animator(animator.generator, str(animator.device), animator.precision, "none", animator.crop)
        self._live = LiveModel(live, cropper)
        jobs = open_jobs(config)
        self._cleanup = Cleanup(jobs, config.media_folder, config.keep_s, config.max_stored_bytes)
        self._cleanup.start()
        self._runner = JobRunner(jobs, run, config.model, MediaChecker(config.media).check)
        self._runner.start()
        heartbeat(config).keep_beating(lambda: self._runner.is_alive)

    def check_health(self) -> None:
        """Raise if the thread has died, which makes Ray start another replica.

        Raises:
            RuntimeError: the thread has died.
        """
        if not self._runner.is_alive:
            raise RuntimeError("the thread that runs animation jobs has died")

    def live(self, call: str, *arguments: Any) -> Any:  # noqa: ANN401 - those of the method
        """Call a method of the live model."""
        return getattr(self._live, call)(*arguments)

    def __del__(self) -> None:
        """Queue the current job again."""
        if hasattr(self, "_runner"):
            self._runner.stop()
            self._cleanup.stop()


class RemoteLiveModel:
    """Calls the live model of the replica that animates.

    Each call raises a LiveTimeoutError if no replica answers in time.
    """

    def __init__(self, animation: DeploymentHandle) -> None:
        self._animation = animation

    def describe(self) -> tuple[int, int]:
        """Return the number of directions and the side of a picture in pixels."""
        return self._ask("describe")

    def frame(self, path: Path, face: int | Literal["largest"], square: Box | None) -> FramedPicture | Error:
        """See `LiveModel.frame`."""
        return self._ask("frame", path, face, square)

    def paint(
        self, portrait_id: str, portrait: bytes, steps: Sequence[float], picture_format: PictureFormat
    ) -> bytes | Error:
        """See `LiveModel.paint`."""
        return self._ask("paint", portrait_id, portrait, steps, picture_format)

    def _ask(self, call: str, *arguments: object) -> Any:  # noqa: ANN401 - as the method returns
        try:
            return self._animation.live.remote(call, *arguments).result(timeout_s=LIVE_TIMEOUT_S)
        except (RayError, RayServeException, TimeoutError) as error:
            logger.warning("the live call %s failed: %r", call, error)
            raise LiveTimeoutError from None


def direction_names(config: ServingConfig) -> DirectionNames:
    """Return where the names of the model's directions are kept."""
    if config.registry is not None:
        return NamesInRegistry(config.model, config.registry)
    weights = file_sha256(config.checkpoint / "generator.safetensors")
    return NamesInFile(config.home / "direction_names" / f"{weights[:16]}.json")


class AnimationApi:
    """Answers HTTP, and asks the other replica for what a user waits for."""

    def __init__(self, config: ServingConfig, animation: DeploymentHandle, host: str, port: int) -> None:
        """Start the server.

        Raises:
            OSError: another program listens at `host`:`port`.
        """
        limits = ApiLimits(
            folders=config.folders,
            media=config.media_folder,
            tokens=Tokens(TokenFile(config.token_file), config.token, is_public=not is_loopback(host)),
            max_upload_bytes=config.max_upload_bytes,
            max_num_queued=config.max_num_queued,
            max_num_batch_items=config.max_num_batch_items,
            requests=config.requests,
            max_stored_bytes=config.max_stored_bytes,
        )
        check = MediaChecker(config.media).check
        live = LiveRequests(
            RemoteLiveModel(animation), direction_names(config), config.model, config.media_folder, check
        )
        routes = (live_routes(live), samples_routes(config.samples))
        api = build_api(open_jobs(config), config.model, limits, check, heartbeat(config), routes)
        self._server = HttpServer(api, host, port)
        self._server.start()

    def check_health(self) -> None:
        """Raise if the server has ended, which makes Ray start another replica.

        Raises:
            RuntimeError: the server has ended.
        """
        if not self._server.is_alive:
            raise RuntimeError("the HTTP server has ended")

    def __del__(self) -> None:
        """Free the port."""
        if hasattr(self, "_server"):
            self._server.stop()


def build_application(config: ServingConfig, num_gpus: float, host: str, port: int) -> serve.Application:
    """Return the application, which listens at `host`:`port` and animates with `num_gpus` GPUs."""
    # Not as decorators: they replace the class, and Ray would then pickle its code instead of its name.
    animation = serve.deployment(
        num_replicas=1,
        graceful_shutdown_timeout_s=60,
        ray_actor_options={"num_cpus": 0.5, "num_gpus": num_gpus},
    )(AnimationReplica)
    api = serve.deployment(
        num_replicas=1,
        # The address is one of the head's; only there exists this resource.
        ray_actor_options={"num_cpus": 0.1, "resources": {"node:__internal_head__": 0.001}},
    )(AnimationApi)
    return api.bind(config, animation.bind(config), host, port)


def deploy(config: ServingConfig, host: str, port: int) -> None:
    """Start Serve on the cluster this process is connected to and wait until the application answers.

    An application that already runs is replaced; its jobs are resumed.
    """
    num_gpus = min(1.0, cluster_resources().get("GPU", 0.0))
    serve.start(proxy_location="Disabled")
    serve.run(build_application(config, num_gpus, host, port), name=APPLICATION, route_prefix=None)


def withdraw() -> None:
    """Remove the application from the cluster; queued jobs are kept for the next one."""
    serve.delete(APPLICATION)
