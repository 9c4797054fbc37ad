"""The replica that animates: jobs from the store, and what a user waits for."""

from typing import Any

import torch

from lia_model.animation.footage import Decoding
from lia_model.animation.framing import make_cropper
from lia_model.animation.media_check import MediaChecker
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.device.allocator import keep_freed_memory
from lia_model.serving.app.config import ServingConfig, heartbeat, open_jobs, open_media
from lia_model.serving.interactive.direction_names import open_names
from lia_model.serving.interactive.live_model import LiveModel
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.jobs.runner import JobRunner
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_hardware import takes_gpu_encoder


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
            direction_names=open_names(config.model, config.registry, config.checkpoint, config.home).read,
        )
        # Neither compiled nor recorded, since jobs run in another thread.
        live = Animator(animator.generator, str(animator.device), animator.precision, "none", animator.crop)
        self._live = LiveModel(live, cropper)
        jobs, media = open_jobs(config), open_media(config)
        self._cleanup = Cleanup(jobs, media, config.keep_s, config.max_stored_bytes)
        self._cleanup.start()
        self._runner = JobRunner(jobs, run, config.model, media, MediaChecker(config.media).check)
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
