"""A live service with a small model that detects faces, the live calls and the page."""

import threading
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice

from lia_model.animation.framing import FaceCropper
from lia_model.animation.run import AnimationRun
from lia_model.serving.interactive.direction_names import NamesInFile
from lia_model.serving.interactive.live_model import LiveModel
from lia_model.serving.interactive.live_requests import LiveRequests
from lia_model.serving.interactive.routes import live_routes
from lia_model.serving.interactive.samples import samples_routes
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog, Registered
from lia_model.settings import MediaLimits
from preprocessing.faces.detector import FaceDetector
from preprocessing.media.video_reader import decode
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.live import LiveService, tiny_animator

MODEL = ModelVersion(name="lia", version="1")
LIMITS = MediaLimits(
    max_pixels=9_000_000, max_num_frames=1000, max_duration_s=60, check_timeout_s=60, check_memory_bytes=10**9
)


def shorten(clip, path, num_frames):
    """Write the first frames of a sample."""
    frames = [frame.image for frame in islice(decode(clip), num_frames)]
    height, width = frames[0].shape[:2]
    with VideoWriter(path, Fraction(25), (width, height)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


class PageService(LiveService):
    """Answers the page's calls too."""

    media_limits = LIMITS

    def __init__(self, folder, model, samples):
        self._model = model
        self._samples = samples
        super().__init__(folder, max_upload_bytes=50_000_000)

    def catalog(self, version):
        def read():
            licences = {"data": "CC BY 4.0 (2 videos)"}
            return {version: Registered(["champion"], licences), "0": Registered()}

        return ModelCatalog(ModelVersion(name="lia", version=version), "champion", read)

    def more_routes(self):
        names = NamesInFile(self.root / "names.json")
        live = LiveRequests(self._model, names, MODEL, self.media, self.check)
        return live_routes(live), samples_routes(self._samples)


@contextmanager
def page_service(folder, models, samples=None, animator=None):
    """Serve the page in `folder`, with a runner; yields the service, whose `client` is one of it."""
    animator = animator or tiny_animator()
    cropper = FaceCropper(FaceDetector(models / "scrfd", 0.5, 64), 5, 1.6)

    service = PageService(folder, LiveModel(animator, cropper), samples)
    runner = JobRunner(service.jobs, AnimationRun(animator, cropper, 4), MODEL, service.job_media)
    ended = threading.Event()
    service.workers.keep_beating(lambda: not ended.is_set())
    with service.serving():
        runner.start()
        try:
            yield service
        finally:
            runner.stop()
            ended.set()
