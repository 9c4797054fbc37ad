"""The nightly evaluation, run by a real server and a real process worker on a project with a champion."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import mlflow
import psutil
import pytest

from lia_model.registry.runs import Run
from pipelines.environment import read_environment
from pipelines.stages import release
from pipelines.stages.release import run_release
from preprocessing.ledger import ClipRow, write_clips
from preprocessing.sources.tombstones import add_tombstones
from tests.conftest import Project
from tests.pipelines.deployments.prefect_project import adopt_environment, artifact_keys, ask, end_all, run
from tests.pipelines.released_models import FLAT, make_project, release_params, train

pytestmark = pytest.mark.drill
VIDEO = "a" * 40


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project with a Prefect server and a champion that was trained on `VIDEO`."""
    made = new_project("nightly")
    made.run("lia", "up", "prefect")
    adopt_environment(made)
    paths = make_project(made.root)
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        mlflow.set_tracking_uri(read_environment(made.root, made.variables).mlflow_tracking_uri)
        # The flow of the release would start another server.
        patch.setattr(release, "release_flow", release.release_checkpoint)
        run_id = train(paths, "run", FLAT)
        Run(run_id).log_source_keys([VIDEO])
        params = release_params("lia", models, tmp_path_factory.mktemp("nowhere"))
        assert run_release(params, paths, run_id).is_champion
    mlflow.set_tracking_uri(before)
    row = ClipRow(
        key=f"{VIDEO}-0", row_key=VIDEO, source_key=VIDEO, url="", outcome="kept", identity="someone"
    )
    paths.ledger.mkdir(parents=True, exist_ok=True)
    write_clips(paths.ledger / "clips.parquet", [row])
    return made


@pytest.fixture(scope="module", autouse=True)
def worker(project: Project) -> Iterator[None]:
    """A process worker of the pool `lia`, far from the project."""
    project.run("prefect", "work-pool", "create", "lia", "--type", "process")
    project.run("prefect", "--no-prompt", "deploy", "--all")
    command = ("prefect", "worker", "start", "--pool", "lia")
    with (project.root / "runs/worker.log").open("wb") as log:
        process = psutil.Popen(command, cwd="/", env=project.variables, stdout=log, stderr=subprocess.STDOUT)
        yield
        end_all([*process.children(recursive=True), process])


def degraded(project: Project) -> list[dict[str, object]]:
    """The events on which an automation can act."""
    return [one for one in ask(project, "events")["events"] if one["event"] == "lia.champion.degraded"]


def test_a_sound_champion_completes_the_run_and_a_takedown_fails_it_with_an_event(project: Project) -> None:
    told = run(project, "evaluate-champion/nightly")
    assert "Completed" in told, told + (project.root / "runs/worker.log").read_text()[-3000:]
    assert "no problem" in (project.root / "runs/champion/report.md").read_text()
    assert "champion" in artifact_keys(project)
    assert degraded(project) == []

    add_tombstones(project.root / "data/tombstones.csv", [VIDEO], date(2026, 11, 26))
    told = run(project, "evaluate-champion/nightly")
    reason = f"it was trained on video {VIDEO}, which was taken down"
    assert "Failed" in told
    assert reason in told + (project.root / "runs/worker.log").read_text()
    assert f"- **{reason}" in (project.root / "runs/champion/report.md").read_text()
    (event,) = degraded(project)
    assert event["payload"]["problems"][0].startswith(reason)
