"""`lia stop` under a running service: its job ends, or is queued again without counting as lost."""

import subprocess
import time
from contextlib import contextmanager

import httpx
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.messages import JobStatus
from lia_model.settings import NetworkSettings
from tests.lia_model.serving.live import write_clip
from tests.lia_model.serving.service import png

pytestmark = pytest.mark.drill

START_S, JOB_S = 120, 120
NUM_FRAMES = {100: 1500, 0: 30_000}
"""By drain_s: so few that they are animated within it, or so many that the stop meets them."""


@pytest.fixture(scope="module")
def project(new_project):
    project = new_project("stopped")
    network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(project.root / "model", build_generator(network, seed=0))
    return project


@contextmanager
def serving(project):
    """Serve the tiny model on the project's own Ray head; yield a client and the program."""
    project.run("lia", "up", "ray", timeout_s=240)
    with (project.root / "serve.log").open("w") as log:
        command = ["lia", "serve", "--model", "model"]
        program = subprocess.Popen(command, cwd=project.root, env=project.variables, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{project.variables['LIA_SERVE_PORT']}"
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            wait_until(lambda: answers(client), START_S, project)
            yield client, program
    finally:
        program.terminate()
        program.wait(60)
        project.run("lia", "stop")


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds, patience_s, project):
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, (project.root / "serve.log").read_text()
        time.sleep(0.05)


def jobs_of(project):
    return JobStore(open_database(sqlite_url(project.root / "runs/serving/jobs.sqlite")), RetryRules())


@pytest.mark.parametrize("drain_s", NUM_FRAMES)
def test_a_job_ends_within_the_drain_or_waits_for_the_next_service(project, tmp_path, drain_s):
    project.set_params({"serve.drain_s": drain_s})
    num_frames = NUM_FRAMES[drain_s]
    clip = write_clip(tmp_path / "clip.mp4", num_frames)
    with serving(project) as (client, _):
        files = {"source": ("face.png", png()), "driving": ("clip.mp4", clip.read_bytes())}
        answer = client.post("/v1/animations", files=files, data={"crop": "false"})
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        wait_until(lambda: 0 < jobs_of(project).get(job).frames_done < num_frames, JOB_S, project)
        started_s = time.monotonic()
        project.run("lia", "stop")
        assert time.monotonic() - started_s < 60 + drain_s
        stopped = jobs_of(project).get(job)
        assert stopped.status == (JobStatus.SUCCEEDED if drain_s else JobStatus.QUEUED)
        assert (stopped.attempts, stopped.failures, stopped.losses) == (1, 0, 0)
    if not drain_s:
        with serving(project):
            wait_until(lambda: jobs_of(project).get(job).status == JobStatus.SUCCEEDED, JOB_S, project)
        assert (jobs_of(project).get(job).failures, jobs_of(project).get(job).losses) == (0, 0)


def test_the_program_ends_with_one_line_when_its_service_is_stopped(project):
    with serving(project) as (_, program):
        project.run("lia", "stop")
        assert program.wait(90) == 1
    assert "has ended, by `lia stop`" in (project.root / "serve.log").read_text().splitlines()[-1]
