"""A `dvc repro` that is killed in the middle of a stage leaves nothing that stops the next one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from tests.conftest import Project

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], samples_url: str) -> Project:
    made = new_project("killed-dvc", sources=[f"{samples_url}/single_face.mp4,train"])
    made.run("lia", "up", "prefect")
    for line in made.run("lia", "env").stdout.splitlines():
        name, value = line.removeprefix("export ").replace("'", "").split("=", 1)
        made.variables[name] = value
    made.run("dvc", "repro", "shards")
    return made


def start(project: Project) -> subprocess.Popen[bytes]:
    """Start `dvc repro shards` and return once its stage works on a source."""
    process = subprocess.Popen(
        ["dvc", "repro", "shards"],
        cwd=project.root,
        env=project.variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline_s = time.monotonic() + 120
    while not stages(process):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return process


def stages(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes of `lia shards` and its children below a `dvc repro`."""
    family = psutil.Process(process.pid).children(recursive=True)
    return family if any("preprocessing.clips.source_run" in one.cmdline() for one in family) else []


def kill_all(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_dvc_alone(process: subprocess.Popen[bytes]) -> None:
    """The stage goes on beside the next run."""
    process.kill()


@pytest.mark.parametrize(("kill", "quality"), [(kill_all, 90), (kill_dvc_alone, 89)])
def test_the_next_run_completes(
    project: Project, kill: Callable[[subprocess.Popen[bytes]], None], quality: int
) -> None:
    project.set_params({"shards.jpeg_quality": quality})
    process = start(project)
    kill(process)
    process.wait()
    done = project.run("dvc", "repro", "shards")
    # DVC says whose lock it has removed.
    assert f"(Pid {process.pid})" in done.stdout + done.stderr
    assert "had been killed. Auto removed it from the lock file" in done.stdout + done.stderr
    assert "up to date" in project.run("dvc", "status", "shards").stdout
