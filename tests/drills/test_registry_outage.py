"""MLflow goes away behind a running service, and comes back; the service is not restarted."""

import logging
import sys
import time
from contextlib import closing

import pytest

from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.jobs import JobStore, RetryRules
from preprocessing.media.containers.container_tags import read_tags
from tests.drills.served_project import (
    has_succeeded,
    logs_of,
    register_tiny_models,
    serving,
    status,
    submit,
    wait_until,
)
from tests.lia_model.serving.live import write_clip
from tests.mlflow_server import mlflow_server

pytestmark = pytest.mark.drill

logger = logging.getLogger(__name__)

OUTAGE_S = 45
FOLLOWED_S = 30
"""How long a moved alias may take to reach new jobs."""
NUM_FRAMES = 4000
"""Of a job that the outage meets."""
JOB_S = 240
MOVE = """
import sys
from pathlib import Path
from lia_model.registry import aliases
from pipelines.environment import read_environment

read_environment(Path.cwd()).activate()
aliases.set_alias("lia", sys.argv[1], sys.argv[2])
"""


def move(project, alias, version):
    project.run(sys.executable, "-c", MOVE, alias, version)


def made_by(client, project, clip):
    """Animate with the default model; return the version that did it."""
    job = submit(client, clip).json()["id"]
    wait_until(lambda: has_succeeded(client, job), JOB_S, project)
    return status(client, job)["model"]["version"]


def require_refusals(client, clip, project):
    """What only the registry knows gets one clear answer; all else is as before."""
    # What it said last holds for ten seconds.
    wait_until(lambda: submit(client, clip, model="lia/9").status_code == 503, 20, project)
    assert submit(client, clip, model="lia@newest").json()["error"] == {
        "code": "unavailable",
        "message": "model: lia@newest is looked for in the model registry, which does not answer now; try "
        "again, or leave it out",
    }
    unnamed = client.put("/v1/directions/1", json={"name": "nod"})
    assert (unnamed.status_code, unnamed.json()["error"]["code"]) == (503, "unavailable")
    assert client.get("/healthz").status_code == 200
    listed = client.get("/v1/models").json()["available"]
    assert {one["version"] for one in listed} == {"1", "2", "3"}


def require_waiting(client, job, project):
    wait_until(lambda: status(client, job)["warnings"], 60, project)
    told = status(client, job)
    assert told["status"] in ("queued", "running"), told
    (warning,) = told["warnings"]
    assert "cannot be read from the model registry" in warning


def test_mlflow_behind_a_running_service(new_project, tmp_path):
    project = new_project("registry")
    long, short = (write_clip(tmp_path / f"{length}.mp4", length) for length in (NUM_FRAMES, 20))
    with mlflow_server(tmp_path) as mlflow:
        project.variables["LIA_MLFLOW_TRACKING_URI"] = mlflow.uri
        register_tiny_models(project, 3)
        move(project, "challenger", "2")
        with serving(project, "models:/lia@champion") as (client, program):
            assert made_by(client, project, short) == "1"
            met = submit(client, long).json()["id"]
            wait_until(lambda: status(client, met)["frames_done"] > 0, JOB_S, project)
            mlflow.kill()
            lost_s = time.monotonic()
            assert status(client, met)["status"] == "running"
            waiting = [submit(client, short, model=word).json()["id"] for word in ("lia@challenger", "lia/3")]
            served = submit(client, short).json()["id"]
            require_refusals(client, short, project)
            for job in (met, served):
                wait_until(lambda job=job: has_succeeded(client, job), JOB_S, project)
            logger.info("jobs of the loaded model ended after %.0f s", time.monotonic() - lost_s)
            for job in waiting:
                require_waiting(client, job, project)
            time.sleep(max(0, OUTAGE_S - (time.monotonic() - lost_s)))
            assert program.poll() is None
            mlflow.start()
            for job in waiting:
                wait_until(lambda job=job: has_succeeded(client, job), JOB_S, project)
            move(project, "champion", "3")
            moved_s = time.monotonic()
            wait_until(lambda: made_by(client, project, short) == "3", FOLLOWED_S, project)
            logger.info("the moved alias was followed in %.0f s", time.monotonic() - moved_s)
            assert client.put("/v1/directions/1", json={"name": "nod"}).status_code == 200
            require_one_result_each(client, project, [met, served, *waiting], tmp_path / "made.mp4")
            told = logs_of(project)
    assert "the model registry does not answer, what it said last holds" in told
    assert "Traceback" not in told, told[told.index("Traceback") - 2000 :][:6000]
    assert mlflow.password not in told


def require_one_result_each(client, project, jobs, made):
    """Each job has its frames, by the version that it named; those of the loaded model were begun once."""
    with closing(open_database(sqlite_url(project.root / "runs/serving/jobs.sqlite"))) as database:
        store = JobStore(database, RetryRules())
        ended = [store.get(job) for job in jobs]
    assert [(job.attempts, job.failures) for job in ended[:2]] == [(1, 0)] * 2
    assert [job.frames_done for job in ended] == [NUM_FRAMES, 20, 20, 20]
    for job, version in zip(jobs, "1123", strict=True):
        made.write_bytes(client.get(f"/v1/animations/{job}/video").content)
        assert read_tags(made)["model"] == f"models:/lia/{version}"
