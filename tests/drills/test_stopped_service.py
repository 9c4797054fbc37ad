"""`lia stop` under a running service: its job ends, or is queued again without counting as lost."""

import time

import pytest

from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.messages import JobStatus
from tests.drills.served_project import save_tiny_model, serving, wait_until
from tests.lia_model.serving.live import write_clip
from tests.lia_model.serving.service import png

pytestmark = pytest.mark.drill

JOB_S = 120
NUM_FRAMES = {100: 1500, 0: 30_000}
"""By drain_s: so few that they are animated within it, or so many that the stop meets them."""


@pytest.fixture(scope="module")
def project(new_project):
    project = new_project("stopped")
    save_tiny_model(project)
    return project


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
