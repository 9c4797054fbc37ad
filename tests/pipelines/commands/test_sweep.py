import copy

import pytest
import yaml

from lia_model.checkpoints.directory import read_config
from pipelines import presets
from pipelines.commands.sweep import read_sweep
from pipelines.params import read_params

SPEC = {
    "metric": "loss/l1",
    "mode": "min",
    "num_trials": 3,
    "num_parallel": 2,
    "grace_steps": 2,
    "reduction_factor": 2,
    "seed": 0,
    "space": {"train.optimizer.generator_lr": {"choice": [0.004, 1e-12]}},
}


@pytest.fixture
def params(tmp_path):
    (tmp_path / "params.yaml").write_text(presets.read_preset("demo"))
    return read_params(tmp_path / "params.yaml")


def write(folder, **changes):
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(copy.deepcopy(SPEC) | changes))
    return path


def test_a_sweep_of_known_keys_and_allowed_values_is_read(tmp_path, params):
    settings = read_sweep(write(tmp_path), params)
    assert settings.space["train.optimizer.generator_lr"].choice == (0.004, 1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"space": {"train.optimizer.generator_rl": {"choice": [1]}}},
            r"optimizer\.generator_rl is not a key; did you mean train\.optimizer\.generator_lr\?",
        ),
        ({"space": {"train.ema_decay": {"uniform": [0.5, 2]}}}, r"train\.ema_decay is 2\.0: .* correct it"),
        ({"space": {"serve.batch_size": {"choice": [1]}}}, "keys of train are allowed"),
        ({"trials": 3}, "trials: .*; known keys are metric, mode, num_trials"),
        ({"space": {}}, "space: "),
        ({"space": {"train.num_threads": {"choice": [1]}}}, "which decides where or how long a run trains"),
        ({"grace_steps": 10**9}, "at most train.num_steps, 2600, is allowed"),
    ],
)
def test_what_a_sweep_cannot_vary_is_refused_in_one_line(tmp_path, params, changes, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read_sweep(write(tmp_path, **changes), params)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_best_trial_is_proposed_and_a_second_sweep_finds_it_done(new_project):
    import numpy as np

    from tests.lia_model.shards_on_disk import write_shards

    project = new_project("sweep")
    clips = [np.full((4, 32, 32, 3), value, np.uint8) for value in (40, 220)]
    write_shards(project.root / "data/shards", {"train": clips, "test": clips}, 32)
    project.set_params({
        "shards.crop.size_px": 32, "train.num_steps": 8, "train.log_every_steps": 2,
        "train.checkpoint_every_steps": 4, "train.losses.perceptual.weight": 0.0, "train.num_workers": 1,
        "train.validate_every_steps": 4,
    })  # fmt: skip
    unknown = project.run("lia", "sweep", str(write(project.root, metric="loss/l2")), succeeds=False)
    assert "got metric loss/l2; of these settings and shards loss/l1, loss/generator_adv" in unknown.stderr
    spec = write(
        project.root,
        metric="validation/lpips",
        num_trials=2,
        space={"train.optimizer.generator_lr": {"choice": [0.004]}},
    )
    # Tune prints a table before.
    *_, best, values, proposal = project.run("lia", "sweep", str(spec)).stdout.splitlines()
    assert values == "with train.optimizer.generator_lr = 0.004"
    assert best.startswith("best of 2 trials: sweep-")
    run = proposal.rpartition(" ")[2]
    assert read_config(project.root / "runs/released" / run).provenance["run_name"] in best
    assert ", validation/lpips 0." in best
    assert project.run("lia", "sweep", str(spec)).stdout.splitlines()[-3:] == [best, values, proposal]
    found = project.run(
        "python", "-c",
        "from lia_model.registry.runs import mlflow_client\n"
        "from pipelines.environment import read_environment\n"
        "from pathlib import Path\n"
        "read_environment(Path.cwd()).activate()\n"
        "client = mlflow_client()\n"
        "runs = client.search_runs([client.get_experiment_by_name('lia').experiment_id])\n"
        "parents = {run.data.tags.get('mlflow.parentRunId') for run in runs}\n"
        "print(len(runs), len(parents), {run.info.status for run in runs})\n",
    ).stdout  # fmt: skip
    assert found.split("\n")[0] == "3 2 {'FINISHED'}"
