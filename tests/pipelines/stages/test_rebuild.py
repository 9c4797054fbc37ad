import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import Project


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], samples_url: str) -> Project:
    """A project with one short source and a Prefect server, whose tools read the project's environment."""
    made = new_project("rebuild", sources=[f"{samples_url}/single_face.mp4,train"])
    made.run("lia", "up", "prefect")
    lines = made.run("lia", "env").stdout.splitlines()
    exports = (line.removeprefix("export ").replace("'", "").split("=", 1) for line in lines)
    made.variables.update(dict(exports))
    return made


@pytest.fixture
def worker(project: Project) -> Iterator[Path]:
    """A process worker of the pool `lia`, started far from the project; yields its log."""
    project.run("prefect", "work-pool", "create", "lia", "--type", "process")
    log = project.root / "runs/worker.log"
    command = ("prefect", "worker", "start", "--pool", "lia")
    with log.open("wb") as stream:
        process = psutil.Popen(
            command, cwd="/", env=project.variables, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        yield log
    finally:
        end_all([*process.children(recursive=True), process])


def end_all(processes: list[psutil.Process]) -> None:
    """Terminate processes and, after 20 s, kill those that are left; all are reaped."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=60)
    assert not alive


@pytest.mark.slow
def test_a_worker_rebuilds_the_dataset_by_deployment(project: Project, worker: Path) -> None:
    project.run("prefect", "--no-prompt", "deploy", "--all")
    run = ("prefect", "deployment", "run", "rebuild-dataset/local", "--watch")
    told = project.run(*run, "--watch-timeout", "240").stdout

    assert "Completed" in told, worker.read_text()[-3000:]
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["splits"]["train"]["clips"]


def test_every_deployment_names_a_flow_of_this_project() -> None:
    for deployment in yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]:
        path, name = deployment["entrypoint"].split(":")
        assert f"def {name}(" in Path(path).read_text()
