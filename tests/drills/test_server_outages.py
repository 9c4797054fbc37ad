"""A server that a stage uses is killed while the stage runs: one line says so, and the rerun goes on."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from tests.conftest import Project
from tests.object_store import S3Server, stoppable_s3

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
