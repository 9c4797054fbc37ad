"""Runs deployments of a throw-away project on its Prefect server, and asks the server what became of them."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from tests.conftest import Project


def adopt_environment(project: Project) -> None:
    """Let the commands of a project, whose services run, find these as `lia env` says."""
    lines = project.run("lia", "env").stdout.splitlines()
    exports = (line.removeprefix("export ").replace("'", "").split("=", 1) for line in lines)
    project.variables.update(dict(exports))


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


def run(project: Project, deployment: str, **parameters: object) -> str:
    """Run a deployment to its end and return what Prefect says of it."""
    options = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
    command = ("prefect", "deployment", "run", deployment, *options, "--watch", "--watch-timeout", "240")
    done = subprocess.run(
        command, cwd=project.root, env=project.variables, text=True, capture_output=True, timeout=300
    )
    return done.stdout + done.stderr


def ask(project: Project, path: str) -> Any:
    """Return the server's answer to a search for all things of a kind, such as `artifacts`."""
    address = f"{project.variables['PREFECT_API_URL']}/{path}/filter"
    request = urllib.request.Request(address, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def artifact_keys(project: Project) -> set[str]:
    """Return the keys of all artifacts."""
    return {artifact["key"] for artifact in ask(project, "artifacts")}


def wait_until(holds: Callable[[], object], timeout_s: float) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
