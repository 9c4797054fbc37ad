"""A sweep whose program is killed twice and started again by the same command."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest
import yaml

from lia_model.checkpoints.best import read_best
from lia_model.registry.run_journal import curves
from tests.drills.drilled_training import PATIENCE_S, wait_for
from tests.lia_model.shards_on_disk import write_shards

pytestmark = pytest.mark.drill

NUM_STEPS = 48
NUM_TRIALS = 5
SPEC = {
    "metric": "validation/l1",
    "mode": "min",
    "num_trials": NUM_TRIALS,
    "num_parallel": 2,
    "grace_steps": 8,
    "reduction_factor": 2,
    "seed": 0,
    "space": {"train.optimizer.generator_lr": {"log_uniform": [1e-4, 1e-2]}},
}
REGISTRY = """
import json, pathlib
from pipelines.environment import read_environment
read_environment(pathlib.Path.cwd()).activate()
from lia_model.registry.runs import mlflow_client
client = mlflow_client()
found = []
for run in client.search_runs([client.get_experiment_by_name("lia").experiment_id]):
    steps = {name: sorted(point.step for point in client.get_metric_history(run.info.run_id, name))
             for name in ("loss/l1", "gradient_norm/generator", "validation/l1")}
    found.append({"id": run.info.run_id, "name": run.info.run_name, "status": run.info.status, "steps": steps,
                  "parent": run.data.tags.get("mlflow.parentRunId")})
versions = [version.run_id for version in client.search_model_versions("name = 'lia'")
            if "challenger" in client.get_registered_model("lia").aliases]
print(json.dumps([found, versions]))
"""


@pytest.fixture
def project(new_project):
    made = new_project("killed-sweep")
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 32, 32, 3), dtype=np.uint8)
    write_shards(made.root / "data/shards", {"train": list(noise[:4]), "test": list(noise[4:])}, 32)
    made.set_params({
        "shards.crop.size_px": 32, "train.num_steps": NUM_STEPS, "train.log_every_steps": 2,
        "train.checkpoint_every_steps": 8, "train.validate_every_steps": 4, "train.strip_every_steps": 16,
        "train.losses.perceptual.weight": 0.0, "train.num_workers": 1,
    })  # fmt: skip
    (made.root / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    return made


def steps_of(project):
    """The last logged step of each trial that was started."""
    journals = sorted(project.root.glob("runs/sweep/*/trials/*/mlflow"))
    return [max(curves(journal, ("loss/l1",)).get("loss/l1", {0: 0.0})) for journal in journals]


def test_a_sweep_killed_twice_loses_and_doubles_no_trial(project, drill_folder):
    log = drill_folder / "test_a_sweep_killed_twice_loses_and_doubles_no_trial.log"
    log.unlink(missing_ok=True)

    def start():
        with log.open("a") as file:
            file.write("--- lia sweep spec.yaml\n")
            file.flush()
            return subprocess.Popen(
                ["lia", "sweep", "spec.yaml"],
                cwd=project.root,
                env=project.variables,
                stdout=file,
                stderr=file,
            )

    def note(line):
        with log.open("a") as file:
            file.write(f"--- {line}\n")

    for is_far in (lambda: max(steps_of(project), default=0) >= 10, lambda: len(steps_of(project)) >= 4):
        program = start()
        wait_for(lambda: is_far() or program.poll() is not None)  # noqa: B023
        assert program.poll() is None, log.read_text()[-3000:]
        note(f"SIGKILL to the sweep; its trials are at steps {steps_of(project)}")
        program.send_signal(signal.SIGKILL)
        program.wait()
    started_s = time.monotonic()
    program = start()
    assert program.wait(PATIENCE_S) == 0, log.read_text()[-3000:]
    note(f"the third command took {time.monotonic() - started_s:.0f} s")
    *_, best, _, proposal = log.read_text().splitlines()[:-1]
    run_id = proposal.rpartition(" ")[2]
    project.run("lia", "release", "--run", run_id)

    runs, challengers = json.loads(project.run("python", "-c", REGISTRY).stdout.splitlines()[-1])
    (parent,) = (run for run in runs if run["parent"] is None)
    trials = [run for run in runs if run is not parent]
    assert {run["parent"] for run in trials} == {parent["id"]}
    assert sorted(run["name"] for run in trials) == [f"{parent['name']}-{n:03d}" for n in range(NUM_TRIALS)]
    assert {run["status"] for run in runs} == {"FINISHED"}
    for run in trials:
        for name, every in (("loss/l1", 2), ("gradient_norm/generator", 2), ("validation/l1", 4)):
            steps = run["steps"][name]
            assert steps == list(range(every, steps[-1] + 1, every)), (run["name"], name)
    assert max(run["steps"]["loss/l1"][-1] for run in trials) == NUM_STEPS

    folder = project.root / "runs/sweep" / parent["name"] / "trials"
    scores = {number: read_best(folder / f"{number:03d}").score for number in range(NUM_TRIALS)}
    first = min(scores, key=scores.__getitem__)
    assert best.startswith(f"best of {NUM_TRIALS} trials: {parent['name']}-{first:03d}, validation/l1 ")
    assert challengers == [run_id] == [run["id"] for run in trials if run["name"].endswith(f"-{first:03d}")]
