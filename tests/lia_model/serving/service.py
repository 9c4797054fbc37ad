"""The HTTP API over a real job store, with a client in the same process."""

import asyncio
import io
from functools import partial

import httpx
import numpy as np
from PIL import Image

from lia_model.animation.media_check import check_media
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.limits import ApiLimits
from lia_model.settings import MediaLimits, RequestLimits

MEDIA = MediaLimits(
    max_pixels=2_000_000, max_num_frames=100, max_duration_s=10, check_timeout_s=60, check_memory_bytes=10**9
)
REQUESTS = RequestLimits(max_num_uploads=4, max_pause_s=20, min_bytes_per_s=1000, max_requests_per_s=1000)
MODEL = ModelVersion(name="lia", version="3")

MAX_ITEMS = 5
MAX_BYTES = 10_000_000
"""Of uploads and results."""


def folders_of(root):
    """Let batches use the whole folder."""
    return BatchFolders(root, (root,), (root,))


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


class Service:
    """The API in a folder of its own."""

    def __init__(
        self,
        folder,
        token=None,
        token_file=None,
        max_upload_bytes=1_000_000,
        max_num_queued=3,
        check=None,
        requests=REQUESTS,
    ):
        database = open_database(sqlite_url(folder / "serving" / "jobs.sqlite"))
        self.jobs = JobStore(database, RetryRules(back_off_s=0))
        self.media = folder / "serving" / "media"
        self.job_media = JobMedia(self.media)
        self.root = folder
        tokens = Tokens(token_file, token)
        limits = ApiLimits(
            folders_of(folder),
            self.job_media,
            tokens,
            max_upload_bytes,
            max_num_queued,
            MAX_ITEMS,
            requests,
            MAX_BYTES,
        )
        self.workers = Heartbeat(folder / "serving" / "worker")
        self.workers.beat()
        check = check or partial(check_media, limits=MEDIA)
        self.api = build_api(self.jobs, ModelCatalog(MODEL), limits, check, self.workers)

    def ask(self, method, path, **request):
        async def send():
            transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def post(self, source=None, driving=None, **fields):
        files = {"source": source or ("a.png", png()), "driving": driving or ("b.png", png())}
        return self.ask("POST", "/v1/animations", files=files, data=fields)

    def claim(self):
        """Claim the oldest queued job as a job runner would."""
        return self.jobs.claim(MODEL)

    def finish(self, content=b"0123456789", warnings=()):
        """Finish the oldest queued job as a job runner would."""
        job = self.claim()
        job.folder.mkdir(parents=True)
        produced = job.folder / "result.mp4"
        produced.write_bytes(content)
        assert self.jobs.finish(job, produced, 3, warnings)
        return job


def assert_refused(answer, status, code, *words):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code
    for word in words:
        assert word in body["error"]["message"]
