"""PostgreSQL goes away behind a running service, and comes back; the service is not restarted."""

import time

import pytest

from lia_model.serving.database import open_database
from lia_model.serving.jobs import JobStore, RetryRules
from tests.drills.served_project import (
    answers,
    has_succeeded,
    logs_of,
    save_tiny_model,
    serving,
    status,
    submit,
    wait_until,
)
from tests.lia_model.serving.live import write_clip
from tests.postgresql import postgres_server

pytestmark = pytest.mark.drill

OUTAGE_S = 45
"""Longer than the lease of a job, which is 30 s."""
NUM_FRAMES = 8000
"""Of a job that the outage meets, and that goes on while the database is away."""
JOB_S = 240


def test_postgresql_behind_a_running_service(new_project, tmp_path):
    project = new_project("outage")
    save_tiny_model(project)
    clips = [write_clip(tmp_path / f"{length}.mp4", length) for length in (NUM_FRAMES, 20)]
    with postgres_server() as server:
        project.variables["LIA_DATABASE_URL"] = url = server.create()
        with serving(project) as (client, program):
            jobs = [submit(client, clip).json()["id"] for clip in (clips[0], clips[1], clips[1])]
            wait_until(lambda: status(client, jobs[0])["frames_done"] > 0, JOB_S, project)
            server.stop("QUIT")
            lost_s = time.monotonic()
            wait_until(lambda: not answers(client), 10, project)
            refused = [
                client.get("/healthz"),
                submit(client, clips[1]),
                client.get("/v1/animations"),
                client.get(f"/v1/animations/{jobs[0]}"),
                client.get("/metrics"),
                client.delete(f"/v1/animations/{jobs[1]}"),
            ]
            for answer in refused:
                assert answer.status_code == 503, (answer.request, answer.text)
                assert answer.json() == {
                    "error": {
                        "code": "unavailable",
                        "message": "the job store cannot be used; try again later",
                    }
                }
            time.sleep(max(0, OUTAGE_S - (time.monotonic() - lost_s)))
            assert program.poll() is None
            assert client.get("/healthz").status_code == 503
            server.start()
            wait_until(lambda: answers(client), 10, project)
            for job in jobs:
                wait_until(lambda job=job: has_succeeded(client, job), JOB_S, project)
            after = submit(client, clips[1]).json()["id"]
            wait_until(lambda: has_succeeded(client, after), JOB_S, project)
            store = JobStore(open_database(url), RetryRules())
            done = [store.get(job) for job in (*jobs, after)]
            assert [(job.attempts, job.failures, job.losses) for job in done] == [(1, 0, 0)] * 4
            assert [job.frames_done for job in done] == [NUM_FRAMES, 20, 20, 20]
            for job in jobs:
                video = client.get(f"/v1/animations/{job}/video")
                assert video.status_code == 200
            told = logs_of(project)
            store.database.close()
        assert "must be a PostgreSQL server that accepts connections" in told
        assert "Traceback" not in told, told[told.index("Traceback") - 2000 :][:6000]
