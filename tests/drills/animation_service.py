"""The parts of an animation service as programs that a drill may kill: its API, and a tiny model's worker."""

import argparse
import signal
import threading
from functools import partial
from pathlib import Path

import torch

from lia_model.animation.media_check import check_media
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.cleanup import Cleanup
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.limits import ApiLimits
from tests.lia_model.serving.live import runner_of, served
from tests.lia_model.serving.service import MEDIA, REQUESTS, folders_of

RULES = RetryRules(lease_s=2, max_losses=100)
"""So short a lease that the drill need not wait long for the job of a killed worker."""
MAX_NUM_QUEUED = 40
"""Fewer than the clients send, so that they meet a full queue."""


def serve(jobs: JobStore, folder: Path, port: int) -> None:
    """Answer at the port until interrupted."""
    limits = ApiLimits(
        folders_of(folder),
        JobMedia(folder / "media"),
        Tokens(None, None),
        10**6,
        MAX_NUM_QUEUED,
        1,
        REQUESTS,
        10**9,
    )
    workers = Heartbeat(folder / "worker")
    model = ModelVersion(name="lia", version="1")
    api = build_api(jobs, ModelCatalog(model), limits, partial(check_media, limits=MEDIA), workers)
    with served(api, port):
        threading.Event().wait()


def work(jobs: JobStore, folder: Path) -> None:
    """Animate jobs until interrupted."""
    # As the service does by default; the order of sums, and so a last bit, depends on the threads.
    torch.set_num_threads(1)
    media = JobMedia(folder / "media")
    cleanup = Cleanup(jobs, media, keep_s=3600, max_stored_bytes=10**9)
    cleanup.start()
    runner_of(jobs, media).start()
    threading.Event().wait()


def main() -> None:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["serve", "work"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    jobs = JobStore(open_database(given.url), RULES)
    if given.part == "serve":
        serve(jobs, given.folder, given.port)
    else:
        work(jobs, given.folder)


if __name__ == "__main__":
    main()
