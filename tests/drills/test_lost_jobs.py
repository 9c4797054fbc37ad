"""No job is lost or shown twice while its workers and its server are killed; see `animation_service`."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore
from tests.lia_model.serving.live import write_clip
from tests.lia_model.serving.service import png
from tests.ports import free_port
from tests.postgresql import postgres_server

pytestmark = pytest.mark.drill

NUM_JOBS = int(os.environ.get("DRILL_NUM_JOBS", "300"))
"""Jobs on each database; 1000 is the drill's full size."""
KILL_WORKER_S = 20.0
KILL_SERVER_S = 13.0
CLIP_LENGTHS = (1, 2, 4, 6, 9)
PATIENCE_S = 1800.0
ROOT = Path(__file__).parents[2]


class Part:
    """One program of the service, started again whenever it was killed."""

    def __init__(self, *arguments):
        self._arguments = [sys.executable, "-m", "tests.drills.animation_service", *map(str, arguments)]
        self.num_kills = 0
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._arguments, cwd=ROOT)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self.num_kills += 1
        self.start()

    def end(self):
        self._process.kill()
        self._process.wait()


class Customer:
    """Sends jobs and fetches their results, whatever happens to the server meanwhile."""

    def __init__(self, port, clips):
        self._clips = clips
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self.num_refusals = self.num_broken = 0
        self._deadline = time.monotonic() + PATIENCE_S

    def ask(self, method, path, **request):
        """Repeat a request until the server answers it."""
        while True:
            assert time.monotonic() < self._deadline, path
            try:
                answer = self._client.request(method, path, **request)
            except httpx.TransportError:
                self.num_broken += 1
            else:
                if answer.status_code not in (429, 503):
                    return answer
                self.num_refusals += 1
            time.sleep(0.3)

    def submit(self, number):
        files = {"source": ("a.png", png()), "driving": ("b.mp4", self._clips[number % len(self._clips)])}
        headers = {"Idempotency-Key": f"job {number}"}
        answer = self.ask("POST", "/v1/animations", files=files, data={"crop": "false"}, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["links"]["self"]

    def result(self, link):
        while (status := self.ask("GET", link).json())["status"] in ("queued", "running"):
            time.sleep(0.5)
        assert status["status"] == "succeeded", status
        answer = self.ask("GET", f"{link}/video")
        assert answer.status_code == 200, answer.text
        return answer.content

    def close(self):
        self._client.close()


def hash_of(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "jobs.sqlite")
        return
    with postgres_server() as server:
        yield server.create()


def undisturbed_results(folder, clips):
    """Return the clips' results by a service that nobody disturbs."""
    port = free_port()
    url = sqlite_url(folder / "jobs.sqlite")
    customer = Customer(port, clips)
    parts = [Part("serve", folder, url, "--port", port), Part("work", folder, url)]
    try:
        return [customer.result(customer.submit(number)) for number in range(len(clips))]
    finally:
        customer.close()
        for part in parts:
            part.end()


def test_every_job_survives_killed_workers_and_servers_with_one_right_result(
    database_url, tmp_path, drill_folder
):
    clips = [write_clip(tmp_path / f"{length}.mp4", length).read_bytes() for length in CLIP_LENGTHS]
    expected = undisturbed_results(tmp_path / "undisturbed", clips)
    port, folder = free_port(), tmp_path / "disturbed"
    server = Part("serve", folder, database_url, "--port", port)
    workers = [Part("work", folder, database_url) for _ in range(2)]
    customer, ended = Customer(port, clips), threading.Event()
    started_s = time.monotonic()

    def kill_workers():
        while not ended.wait(KILL_WORKER_S):
            workers[workers[0].num_kills > workers[1].num_kills].kill()

    def kill_server():
        for _ in range(2):
            if ended.wait(KILL_SERVER_S):
                return
            server.kill()

    killers = [threading.Thread(target=kill) for kill in (kill_workers, kill_server)]
    for killer in killers:
        killer.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            links = list(pool.map(customer.submit, range(NUM_JOBS)))
            results = list(pool.map(customer.result, links))
        database = open_database(database_url)
        jobs = JobStore(database).newest(NUM_JOBS + 1)
        database.close()
    finally:
        ended.set()
        customer.close()
        for killer in killers:
            killer.join()
        for part in (server, *workers):
            part.end()
    attempts = Counter(job.attempts for job in jobs)
    num_kills = sum(part.num_kills for part in workers)
    figures = {
        "jobs": NUM_JOBS,
        "seconds": round(time.monotonic() - started_s),
        "killed workers": num_kills,
        "killed servers": server.num_kills,
        "broken requests": customer.num_broken,
        "refused requests": customer.num_refusals,
        "hashes unlike undisturbed": sum(
            hash_of(result) != hash_of(expected[number % len(clips)]) for number, result in enumerate(results)
        ),
        "jobs by attempts": dict(sorted(attempts.items())),
    }
    kind = database_url.partition(":")[0]
    (drill_folder / f"lost_jobs_{kind}.json").write_text(json.dumps(figures, indent=1))
    assert len(set(links)) == len(jobs) == NUM_JOBS
    by_link = dict(zip(links, enumerate(results), strict=True))
    for job in jobs:
        number, result = by_link[f"/v1/animations/{job.id}"]
        assert hash_of(result) == hash_of(expected[number % len(clips)]), job
    assert server.num_kills == 2
    assert num_kills >= 2
