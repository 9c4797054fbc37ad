import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import Project


def end_with_children(process: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.terminate()
    psutil.wait_procs(family, timeout=20)
    process.wait(timeout=20)


@pytest.mark.slow
def test_a_worker_rebuilds_the_dataset_by_deployment(
    new_project: Callable[..., Project], samples_url: str
) -> None:
    project = new_project("rebuild", sources=[f"{samples_url}/single_face.mp4,train"])
    project.run("lia", "up")
    project.variables.update(_exports(project.run("lia", "env").stdout))
    project.run("prefect", "work-pool", "create", "lia", "--type", "process")
    project.run("prefect", "--no-prompt", "deploy", "--all")
    log = project.root / "runs/worker.log"
    with log.open("wb") as stream:
        worker = subprocess.Popen(
            ["prefect", "worker", "start", "--pool", "lia"],
            cwd="/",
            env=project.variables,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        run = ("prefect", "deployment", "run", "rebuild-dataset/local", "--watch")
        told = project.run(*run, "--watch-timeout", "240").stdout
    finally:
        end_with_children(worker)

    assert "Completed" in told, log.read_text()[-3000:]
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["splits"]["train"]["clips"]
    assert project.run("git", "status", "--porcelain", "--untracked-files=no").stdout.split() == [
        "M",
        "data/sources.csv",
    ]


def _exports(lines: str) -> dict[str, str]:
    return dict(line.removeprefix("export ").replace("'", "").split("=", 1) for line in lines.splitlines())


def test_every_deployment_names_a_flow_of_this_project() -> None:
    deployments = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        path, name = deployment["entrypoint"].split(":")
        assert f"def {name}(" in Path(path).read_text()
