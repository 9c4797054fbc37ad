"""The replica that animates: jobs from the store, and what a user waits for."""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from lia_model.animation.footage import Decoding
from lia_model.animation.framing import make_cropper
from lia_model.animation.media_check import MediaChecker
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.device.allocator import keep_freed_memory
from lia_model.registry.golden_pair import require_golden_result
from lia_model.serving.app.autoscaling import BUSY, QUEUED, RUNNING
from lia_model.serving.app.config import (
    ServingConfig,
    heartbeat,
    loaded_marks,
    open_jobs,
    open_media,
    use_registry,
)
from lia_model.serving.interactive.direction_names import open_names
from lia_model.serving.interactive.live_model import LiveModel
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import JobStatus, ModelVersion
from lia_model.serving.models.loaded import LoadedModels
from lia_model.serving.tracing import Tracing
from lia_model.shared_animator import SharedAnimator
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.codecs.video_hardware import takes_gpu_encoder

TRIED_S = 60.0
"""How long a frame shows that the model works."""
JOBS_ON_GPU = 4
"""Jobs at a time of a replica with a GPU."""


def load_run(config: ServingConfig, model: ModelVersion, checkpoint: Path) -> AnimationRun:
    """Load the checkpoint of a version as the configuration says, and check it with its golden pair.

    Raises:
        GoldenPairError: it gives another result than at its release.
    """
    animator = SharedAnimator.load(checkpoint, device="auto", compilation=config.compilation)
    if config.compilation != "none":
        animator.warm_up(config.batch_size)
    animate = partial(animator.animate, batch_size=config.batch_size)
    require_golden_result(model.name, model.version, config.golden_folder, animate)
    cropper = make_cropper(
        animator.crop,
        lambda: FaceDetector(config.detector, config.min_score, config.pad_px),
        config.every_num_frames,
    )
    return AnimationRun(
        animator,
        cropper,
        config.batch_size,
        Decoding(hardware=config.video_decoder == "gpu"),
        takes_gpu_encoder(config.video_encoder),
        direction_names=open_names(model, config.registry_uri, checkpoint, config.home).read,
    )


def jobs_at_once(asked_for: int | Literal["auto"], device: torch.device) -> int:
    """Return how many jobs a replica animates at a time; more than one gain nothing on a CPU."""
    if asked_for == "auto":
        return JOBS_ON_GPU if device.type == "cuda" else 1
    return asked_for


class AnimationReplica:
    """Runs jobs from the store in threads of its own; live calls come through Ray."""

    def __init__(self, config: ServingConfig) -> None:
        """Load model and detector, and start the job runner."""
        use_registry(config)
        keep_freed_memory()
        torch.set_num_threads(config.num_threads)
        run = load_run(config, config.model, config.checkpoint)
        animator = run.animator
        # Neither compiled nor recorded, since jobs run in another thread.
        live = Animator(animator.generator, str(animator.device), animator.precision, "none", animator.crop)
        self._live = LiveModel(live, run.cropper)
        self._jobs, self._drain_s = open_jobs(config), config.drain_s
        others = LoadedModels(
            partial(load_run, config), config.home / "models", config.golden_folder, config.max_num_models
        )
        load = None if config.registry is None else others.get
        media, check = open_media(config), MediaChecker(config.media).check
        self._num_jobs = jobs_at_once(config.num_jobs_at_once, animator.device)
        self._runner = JobRunner(self._jobs, run, config.model, media, check, load, self._num_jobs)
        self._tracing = Tracing(config.telemetry)
        self._runner.trace(self._tracing)
        self._tried_s = -math.inf
        self._runner.start()
        marks = loaded_marks(config)
        heartbeat(config).keep_beating(
            lambda: self._runner.is_alive, lambda: marks.mark([config.model, *others.versions])
        )

    def check_health(self) -> None:
        """Raise if the thread has died or the model does not work, which makes Ray start another replica.

        The model computes one picture, unless a job has shown shortly before that it works.

        Raises:
            RuntimeError: the thread has died, or the model does not work.
        """
        if not self._runner.is_alive:
            raise RuntimeError("the thread that runs animation jobs has died")
        if self._runner.idle_s > TRIED_S and time.monotonic() - self._tried_s > TRIED_S:
            self._live.try_out()
            self._tried_s = time.monotonic()

    def record_autoscaling_stats(self) -> dict[str, int]:
        """Return the numbers of jobs in the database, by which `autoscaling` decides."""
        active = self._jobs.num_active()
        running = active[JobStatus.RUNNING]
        return {
            QUEUED: active[JobStatus.QUEUED],
            RUNNING: running,
            BUSY: math.ceil(running / self._num_jobs),
        }

    def live(self, call: str, *arguments: Any) -> Any:  # noqa: ANN401 - those of the method
        """Call a method of the live model."""
        return getattr(self._live, call)(*arguments)

    def __del__(self) -> None:
        """Let the current job finish for a while, and queue it again if it does not."""
        if hasattr(self, "_runner"):
            self._runner.stop(self._drain_s)
            self._tracing.close()
