"""The service over real HTTP on loopback: the API behind a web server, with a job runner and a clean-up."""

import time
from contextlib import contextmanager
from fractions import Fraction
from functools import partial

import httpx
import numpy as np

from lia_model.animation.media_check import check_media
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.http.server import HttpServer
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.limits import ApiLimits
from lia_model.settings import NetworkSettings
from preprocessing.media.video_writer import VideoWriter
from tests.lia_model.serving.service import MEDIA, REQUESTS, folders_of, png
from tests.ports import free_port

NUM_FRAMES = 6


def write_clip(path, num_frames=NUM_FRAMES):
    with VideoWriter(path, Fraction(25), (32, 32)) as writer:
        for index in range(num_frames):
            writer.write(np.full((32, 32, 3), 5 * index % 256, dtype=np.uint8))
    return path


def tiny_animator():
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    return Animator(build_generator(settings, seed=0), "cpu", "fp32")


def runner_of(jobs, media, version="1", animator=None):
    run = AnimationRun(animator or tiny_animator(), None, 4)
    return JobRunner(jobs, run, ModelVersion(name="lia", version=version), media)


@contextmanager
def served(api, port=None):
    """Serve an ASGI application on the port, or on one of its own, in a thread; yields a client of it."""
    port = port or free_port()
    server = HttpServer(api, "127.0.0.1", port)
    server.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.stop()
        assert not server.is_alive


class LiveService:
    """A service over the folder, with a client; runners are started by the tests."""

    media_limits = MEDIA
    media_store = None

    def __init__(
        self,
        folder,
        rules=None,
        busy_timeout_s=30.0,
        version="1",
        max_num_queued=8,
        max_upload_bytes=1_000_000,
        token_file=None,
    ):
        self.root = folder
        self.media = folder / "serving" / "media"
        self.job_media = JobMedia(self.media, self.media_store)
        self.database_path = folder / "serving" / "jobs.sqlite"
        self.url = sqlite_url(self.database_path)
        self.jobs = JobStore(
            open_database(self.url, busy_timeout_s),
            rules or RetryRules(lease_s=1, back_off_s=0),
            root=folder,
            has_result=self.job_media.has_result,
        )
        self.cleanup = Cleanup(self.jobs, self.job_media, keep_s=3600, max_stored_bytes=10**9)
        tokens = Tokens(token_file, None)
        limits = ApiLimits(
            folders_of(folder), self.job_media, tokens, max_upload_bytes, max_num_queued, 200, REQUESTS, 10**9
        )
        self.workers = Heartbeat(folder / "serving" / "worker")
        self.workers.beat()
        self.check = partial(check_media, limits=self.media_limits)
        self._api = build_api(
            self.jobs,
            self.catalog(version),
            limits,
            self.check,
            self.workers,
            self.more_routes(),
        )

    def more_routes(self):
        return ()

    def catalog(self, version):
        return ModelCatalog(ModelVersion(name="lia", version=version))

    @contextmanager
    def serving(self, port=None):
        with served(self._api, port) as self.client:
            yield self

    @contextmanager
    def running(self, version="1", animator=None):
        runner = runner_of(self.jobs, self.job_media, version, animator)
        runner.start()
        try:
            yield runner
        finally:
            runner.stop()

    def clip(self):
        path = self.root / "clip.mp4"
        return (path if path.exists() else write_clip(path)).read_bytes()

    def post(self, source=None, driving=None, **fields):
        files = {"source": source or ("a.png", png()), "driving": driving or ("b.mp4", self.clip())}
        return self.client.post("/v1/animations", files=files, data={"crop": "false"} | fields)

    def submit(self, **fields):
        answer = self.post(**fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["links"]["self"]

    def status(self, link):
        return self.client.get(link).json()

    def ended(self, link):
        deadline = time.monotonic() + 30
        while (status := self.status(link))["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        return status


@contextmanager
def live(folder, **more):
    """Serve a new service in `folder`."""
    with LiveService(folder, **more).serving() as service:
        yield service
