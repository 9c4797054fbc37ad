"""A server that a stage uses is killed while the stage runs: one line says so, and the rerun goes on."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from tests.conftest import Project
from tests.object_store import S3Server, stoppable_s3
from tests.pipelines.deployments.prefect_project import adopt_environment, ask, wait_until
from tests.tapped_server import tapped

pytestmark = pytest.mark.drill

SMALL = {
    # Both samples show the same person in the same clip, of which the data would keep one.
    "shards.identity.models": None,
    "shards.quality.min_duplicate_similarity": None,
    "train.num_steps": 6,
    "train.network.width": 0.05,
    "train.losses.perceptual.weight": 0.0,
}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], samples_url: str) -> Project:
    """A project with downloaded videos and a Prefect server."""
    sources = [f"{samples_url}/single_face.mp4,train", f"{samples_url}/face_noface.mov,test"]
    made = new_project("outages", sources=sources)
    made.set_params(SMALL)
    made.run("lia", "up", "prefect")
    made.run("lia", "download")
    return made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with stoppable_s3(monkeypatch) as server:
        yield server


def end_service(project: Project, name: str) -> None:
    """Kill a service of the project with all of its processes, as a machine that is lost."""
    record = json.loads((project.root / f"runs/services/{name}.json").read_text())
    process = psutil.Process(record["pid"])
    family = [*process.children(recursive=True), process]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, timeout=30)


def fails_with(project: Project, command: str, sign: str, disturb: Callable[[], None]) -> str:
    """Run a command, disturb it once it prints `sign`, and return the one line it ends with."""
    lines, is_disturbed = [], False
    with subprocess.Popen(
        ["lia", command],
        cwd=project.root,
        env=project.variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if not is_disturbed and sign in line:
                disturb()
                is_disturbed = True
    told = "\n".join(lines)
    assert is_disturbed, told
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert not [line for line in lines if not line.startswith(("INFO", "WARNING", "ERROR", "lia:"))], told
    (line,) = (line for line in lines if line.startswith("lia:"))
    return line


def test_the_object_store_in_the_middle_of_shards(project: Project, s3: S3Server) -> None:
    before = dict(project.variables)
    project.variables.update(s3.variables)
    try:
        told = fails_with(project, "shards", ": 1/2 ", s3.stop)
        assert told.startswith("lia: got EndpointConnectionError: Could not connect to the endpoint URL")
        assert "from LIA_STORE_URL s3://lia/project; a store that can be read and written is needed" in told
        s3.start()
        project.run("lia", "shards")
    finally:
        project.variables.clear()
        project.variables.update(before)
    assert json.loads((project.root / "data/shards/manifest.json").read_text())["complete"]


@pytest.mark.parametrize(
    ("command", "upload"), [("shards", b"PUT /lia/project/shards/"), ("download", b"PUT /lia/project/raw/")]
)
def test_the_object_store_at_an_upload(
    project: Project, s3: S3Server, samples_url: str, command: str, upload: bytes
) -> None:
    before, listed = dict(project.variables), (project.root / "data/sources.csv").read_text()
    if command == "download":
        with (project.root / "data/sources.csv").open("a") as file:
            file.write(f"{samples_url}/no_face.mp4,train\n")
    try:
        with tapped(s3.port, upload, s3.stop) as url:
            project.variables.update(s3.variables | {"AWS_ENDPOINT_URL": url})
            failed = project.run("lia", command, succeeds=False)
            told = (failed.stdout + failed.stderr).splitlines()
            assert failed.returncode == 1, told
            assert "Traceback" not in failed.stdout + failed.stderr, failed.stdout + failed.stderr
            (line,) = (line for line in told if line.startswith("lia:"))
            assert (
                "from LIA_STORE_URL s3://lia/project; a store that can be read and written is needed" in line
            )
            s3.start()
            project.run("lia", command)
        repeated: list[bytes] = []
        with tapped(s3.port, upload, lambda: repeated.append(upload)) as url:
            project.variables["AWS_ENDPOINT_URL"] = url
            project.run("lia", command)
        assert not repeated
    finally:
        project.variables.clear()
        project.variables.update(before)
        (project.root / "data/sources.csv").write_text(listed)


def test_prefect_in_the_middle_of_shards(project: Project) -> None:
    project.set_params({"shards.jpeg_quality": 90})
    told = fails_with(project, "shards", ": 1/2 ", lambda: end_service(project, "prefect"))
    url = f"http://127.0.0.1:{project.variables['LIA_PREFECT_PORT']}/api"
    assert told == (
        f"lia: Prefect at {url} fails (Connection refused): see that it runs, or correct "
        "LIA_PREFECT_API_URL, and run the command again"
    )
    project.run("lia", "up", "prefect")
    project.run("lia", "shards")
    assert json.loads((project.root / "data/shards/manifest.json").read_text())["complete"]


SLEEPING_FLOW = """
import time
from prefect import flow

@flow(persist_result=False)
def sleeper():
    time.sleep(600)

sleeper()
"""


def test_a_run_that_ended_while_its_prefect_server_was_away_is_marked_as_crashed(project: Project) -> None:
    client = Project(project.root, dict(project.variables))
    client.run("lia", "up", "prefect")
    adopt_environment(client)
    client.run("prefect", "automation", "create", "--from-file", "infra/automations.yaml")
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPING_FLOW], cwd=client.root, env=client.variables
    ) as flow:
        wait_until(lambda: "RUNNING" in states_of(client, "sleeper"), 60)
        # The first heartbeat has to have been sent.
        time.sleep(35)
        end_service(client, "prefect")
        flow.kill()
    client.run("lia", "up", "prefect")
    assert states_of(client, "sleeper") == ["RUNNING"]
    wait_until(lambda: states_of(client, "sleeper") == ["CRASHED"], 240)


def states_of(project: Project, flow: str) -> list[str]:
    """Return the states of all runs of a flow."""
    known = [one["id"] for one in ask(project, "flows") if one["name"] == flow]
    return [one["state"]["type"] for one in ask(project, "flow_runs") if one["flow_id"] in known]


def test_mlflow_in_the_middle_of_training_evaluation_and_release(project: Project) -> None:
    project.run("lia", "up", "mlflow")
    uri = f"http://127.0.0.1:{project.variables['LIA_MLFLOW_PORT']}"
    client = Project(project.root, project.variables | {"LIA_MLFLOW_TRACKING_URI": uri})
    line = (
        f"lia: MLflow at {uri} fails (Connection refused): see that it runs, or correct "
        "LIA_MLFLOW_TRACKING_URI, and run the command again"
    )
    client.run("lia", "train")
    for command in ("evaluate", "release"):
        told = fails_with(client, command, "Beginning flow run", lambda: end_service(project, "mlflow"))
        assert told == line
        project.run("lia", "up", "mlflow")
        client.run("lia", command)
    assert "challenger" in client.run("lia", "models").stdout
