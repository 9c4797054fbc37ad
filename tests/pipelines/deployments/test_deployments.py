"""The deployments of prefect.yaml, run by a real server and a real process worker."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from pipelines.params import read_params
from tests.conftest import Project
from tests.pipelines.deployments.prefect_project import (
    adopt_environment,
    artifact_keys,
    ask,
    end_all,
    run,
    wait_until,
)

CANCEL_S = 15
"""Within which a cancelled run has no process left."""
BOTH_SAMPLES = {"shards.identity.models": None, "shards.quality.min_duplicate_similarity": None}
"""Both samples show the same person in the same clip, of which the data would keep one."""
SMALL_TRAINING = BOTH_SAMPLES | {
    "train.num_steps": 4,
    "train.network.width": 0.05,
    "train.losses.perceptual.weight": 0.0,
}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], samples_url: str) -> Project:
    """A project with a source for each split and a Prefect server, which its commands find."""
    sources = [f"{samples_url}/single_face.mp4,train", f"{samples_url}/face_noface.mov,test"]
    made = new_project("deployments", sources=sources)
    made.run("git", "config", "user.name", "test")
    made.run("git", "config", "user.email", "test@localhost")
    made.run("lia", "up", "prefect")
    adopt_environment(made)
    return made


@pytest.fixture(scope="module")
def new_worker(project: Project) -> Iterator[Callable[[], psutil.Popen]]:
    """Function that starts a process worker of the pool `lia`, far from the project."""
    project.run("prefect", "work-pool", "create", "lia", "--type", "process")
    project.run("prefect", "--no-prompt", "deploy", "--all")
    command = ("prefect", "worker", "start", "--pool", "lia")
    started = []
    with (project.root / "runs/worker.log").open("ab") as stream:

        def start_worker() -> psutil.Popen:
            started.append(
                psutil.Popen(command, cwd="/", env=project.variables, stdout=stream, stderr=subprocess.STDOUT)
            )
            return started[-1]

        yield start_worker
    for process in started:
        if process.is_running():
            end_all([*process.children(recursive=True), process])


@pytest.fixture
def worker(new_worker: Callable[[], psutil.Popen], running: list[psutil.Popen]) -> psutil.Popen:
    """The worker, started again if it has ended."""
    if not running or running[-1].poll() is not None:
        running.append(new_worker())
    return running[-1]


@pytest.fixture(scope="module")
def running() -> list[psutil.Popen]:
    """The workers started so far."""
    return []


def start(project: Project, deployment: str, **parameters: object) -> str:
    """Have a deployment run and return the id of the run."""
    options = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
    told = project.run("prefect", "deployment", "run", deployment, *options).stdout
    (run_id,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", told))
    return run_id


def state(project: Project, run_id: str) -> str:
    """Return the state of a run, such as COMPLETED."""
    url = f"{project.variables['PREFECT_API_URL']}/flow_runs/{run_id}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["state_type"]


def programs(worker: psutil.Popen, name: str) -> list[psutil.Process]:
    """Return the processes below the worker whose command line holds a word."""
    found = []
    for process in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(name in part for part in process.cmdline()):
                found.append(process)
    return found


def is_in_stage(worker: psutil.Popen, name: str) -> bool:
    """Return whether `lia NAME` runs, which `dvc repro NAME` starts."""
    for process in programs(worker, name):
        with suppress(psutil.NoSuchProcess):
            if any(Path(part).name == "lia" for part in process.cmdline()):
                return True
    return False


@pytest.mark.slow
def test_the_data_is_rebuilt_with_other_settings_and_published(
    project: Project, worker: psutil.Popen
) -> None:
    told = run(
        project, "rebuild-dataset/local", overrides=BOTH_SAMPLES | {"shards.jpeg_quality": 90}, publish=True
    )
    assert "Completed" in told, (project.root / "runs/worker.log").read_text()[-3000:]
    manifest = json.loads((project.root / "data/shards/manifest.json").read_text())
    assert manifest["splits"]["train"]["tars"]
    assert read_params(project.root / "params.yaml").shards.jpeg_quality == 90
    (tag,) = project.run("git", "tag").stdout.split()
    assert tag.startswith("data-")
    changed = project.run("git", "show", "--name-only", "--format=%s", tag).stdout.split("\n")
    assert changed[0] == f"Data {tag}"
    assert {"dvc.lock", "params.yaml", "data/sources.csv"} <= set(changed)
    assert not project.run("git", "status", "--porcelain", "--untracked-files=no").stdout
    assert "in sync" in project.run("dvc", "status", "--cloud", "shards").stdout
    assert {"outcomes", "data-set"} <= artifact_keys(project)
    # The stages run as programs of their own, and are part of the deployment's run all the same.
    found = ask(project, "flow_runs")
    (outer,) = (one for one in found if one["deployment_id"] is not None)
    stages = [one for one in found if f"correlation:{outer['id']}" in one["tags"]]
    assert len(stages) == len(found) - 1 == 2


@pytest.mark.drill
def test_a_cancelled_run_leaves_no_process_and_the_next_run_continues(
    project: Project, worker: psutil.Popen
) -> None:
    run_id = start(project, "rebuild-dataset/local", overrides=BOTH_SAMPLES | {"shards.jpeg_quality": 80})
    wait_until(lambda: is_in_stage(worker, "shards"), 120)
    family = worker.children(recursive=True)
    project.run("prefect", "flow-run", "cancel", run_id)
    _, alive = psutil.wait_procs(family, timeout=CANCEL_S)
    assert not [process.cmdline() for process in alive]
    # Prefect notes the end of a cancelled run in its own time, later on a busy machine.
    wait_until(
        lambda: "CANCELLED" in project.run("prefect", "flow-run", "inspect", run_id).stdout.upper(), 180
    )
    assert "Completed" in run(project, "rebuild-dataset/local")
    assert read_params(project.root / "params.yaml").shards.jpeg_quality == 80


@pytest.mark.drill
def test_runs_of_two_deployments_take_turns(project: Project, worker: psutil.Popen) -> None:
    project.set_params(SMALL_TRAINING)
    ids = [start(project, name) for name in ("train-and-release/local", "rebuild-dataset/local")]
    numbers = []

    def are_done() -> bool:
        numbers.append(len([one for one in programs(worker, "dvc") if "repro" in one.cmdline()]))
        states = [state(project, run_id) for run_id in ids]
        assert not {"FAILED", "CRASHED"} & set(states), (project.root / "runs/worker.log").read_text()[-3000:]
        return states == ["COMPLETED", "COMPLETED"]

    wait_until(are_done, 600)
    assert max(numbers) == 1
    assert "challenger" in project.run("lia", "models").stdout
    assert "evaluation" in artifact_keys(project)


@pytest.mark.drill
def test_a_run_whose_machine_died_is_marked_as_crashed_and_the_next_run_continues(
    project: Project, worker: psutil.Popen, new_worker: Callable[[], psutil.Popen]
) -> None:
    project.run("prefect", "automation", "create", "--from-file", "infra/automations.yaml")
    override = BOTH_SAMPLES | {"shards.jpeg_quality": 70}
    run_id = start(project, "rebuild-dataset/local", overrides=override)
    wait_until(lambda: is_in_stage(worker, "shards"), 120)
    # The first heartbeat has to have been sent.
    time.sleep(35)
    for process in [*worker.children(recursive=True), worker]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: state(project, run_id) == "CRASHED", 240)
    new_worker()
    assert "Completed" in run(project, "rebuild-dataset/local")
    assert read_params(project.root / "params.yaml").shards.jpeg_quality == 70


@pytest.mark.drill
@pytest.mark.parametrize(
    ("deployment", "parameters", "reason"),
    [
        ("rebuild-dataset/local", {"overrides": {"shards.jpg": 1}}, "shards.jpg is not a key"),
        ("rebuild-dataset/local", {"sources": "nowhere.csv"}, "nowhere.csv"),
        ("animate-batch/local", {"manifest": "nowhere.csv", "output": "out"}, "which is no file"),
        ("evaluate-champion/nightly", {}, "'lia', which is not registered"),
    ],
)
def test_bad_parameters_fail_the_run_and_name_the_reason(
    project: Project, worker: psutil.Popen, deployment: str, parameters: dict[str, object], reason: str
) -> None:
    told = run(project, deployment, **parameters)
    assert "Failed" in told
    assert reason in (project.root / "runs/worker.log").read_text() + told


def test_every_deployment_names_a_flow_of_this_project() -> None:
    for deployment in yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]:
        path, name = deployment["entrypoint"].split(":")
        assert f"def {name}(" in Path(path).read_text()
