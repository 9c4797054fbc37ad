"""A small project with a model, and a batch of twenty pairs of which three are broken."""

import csv
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from lia_model.animation.framing import FaceCropper
from lia_model.animation.media_check import check_media
from lia_model.animation.run import AnimationRun
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.jobs.runner import JobRunner
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.limits import ApiLimits
from lia_model.settings import NetworkSettings
from preprocessing.faces.detector import FaceDetector
from tests.lia_model.serving.service import MEDIA, REQUESTS, folders_of
from tests.ports import free_port

NUM_FRAMES = 3
TINY = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
TOKEN = "s3cret"


@dataclass(frozen=True)
class BatchProject:
    """The folder of a project, with `face.mp4` and `wall.png`, which shows no face."""

    root: Path

    def write(self, name, *lines):
        """Write a manifest."""
        (self.root / name).write_text("\n".join(lines) + "\n")
        return self.root / name

    def results(self, output):
        with (self.root / output / "results.csv").open() as file:
            return list(csv.DictReader(file))

    def write_twenty(self):
        """Write a manifest of 17 pairs with a face, and three without a face, a file or a picture."""
        names = [f"p{number:02d}.png" for number in range(17)]
        for name in names:
            shutil.copyfile(self.root / "face.png", self.root / name)
        (self.root / "text.png").write_text("no picture")
        broken = ["wall.png", "gone.png", "text.png"]
        pairs = [*names[:5], broken[0], *names[5:10], broken[1], *names[10:], broken[2]]
        return self.write("twenty.csv", "source,driving", *(f"{name},face.mp4" for name in pairs))

    def start(self, *arguments, variables):
        """Start `lia` in the project as a process of its own."""
        code = "from pipelines.cli import main; main()"
        with (self.root / "lia.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, *arguments], cwd=self.root, env=variables, stderr=log, stdout=log
            )


@contextmanager
def serving(root, models, max_num_items):
    """Serve the project's folder; yields the URL."""
    jobs = JobStore(open_database(sqlite_url(root / "serving" / "jobs.sqlite")))
    tokens = Tokens(None, TOKEN)
    media = JobMedia(root / "serving" / "media")
    limits = ApiLimits(folders_of(root), media, tokens, 1_000_000, 2, max_num_items, REQUESTS, 10**9)
    workers = Heartbeat(root / "serving" / "worker")
    model = ModelVersion(name="lia", version="1")
    api = build_api(jobs, ModelCatalog(model), limits, partial(check_media, limits=MEDIA), workers)
    animator = Animator(build_generator(TINY, seed=0), "cpu", "fp32")
    cropper = FaceCropper(FaceDetector(models / "scrfd", 0.5, 64), 5, 1.2)
    runner = JobRunner(jobs, AnimationRun(animator, cropper, 4), model, media)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(api, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    runner.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        runner.stop()
