"""Machines that share nothing but an object store train, while one of them leaves for good or for a while.

They are raylets on this machine, each with a home and a temporary folder of its own. The shards are in the
store alone: the program that starts the training has only their hash.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from lia_model.checkpoints.file_hashes import verify_hashes
from lia_model.data.sharded_clips import ShardedClips
from lia_model.registry.run_journal import curves, last_checkpoint
from lia_model.settings import TrainSettings
from lia_model.training.loop import Hooks, build_loader, run
from lia_model.training.state import load_state, new_state
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.shards.stored_shards import store_shards
from preprocessing.storage.object_store import Store
from tests.drills.machines import Machines
from tests.lia_model.shards_on_disk import write_shards

pytestmark = pytest.mark.drill

NUM_STEPS = 120
PATIENCE_S = 400
# Ray looks for new nodes once a minute, and the training has to last longer than that on the fastest machine.
ELASTIC_NUM_STEPS = 4000
ELASTIC_PATIENCE_S = 2400
CPU = torch.device("cpu")


@pytest.fixture
def machines(s3, new_cluster, tmp_path, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    machines = Machines(new_cluster(0), tmp_path, s3)
    for name in ("one", "two"):
        machines.join(name)
    return machines


@dataclass
class Training:
    """A program that trains on the cluster; its folder has neither shards nor checkpoints."""

    folder: Path
    log: Path
    process: subprocess.Popen

    @property
    def tracking_uri(self):
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def note(self, line):
        with self.log.open("a") as log:
            log.write(f"--- {time.strftime('%H:%M:%S')} {line}\n")

    def curve(self, name):
        return curves(self.folder / "journal", (name,)).get(name, {})

    def step(self):
        return max(self.curve("loss/l1"), default=0)

    def last_checkpoint(self):
        return last_checkpoint(self.folder / "journal")

    def num_workers(self):
        """How many workers reported the newest step."""
        return self.curve("system/num_workers").get(self.step(), 0)

    def wait_for(self, is_so, patience_s=PATIENCE_S):
        deadline_s = time.monotonic() + patience_s
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline_s, "it did not come"
            time.sleep(0.1)

    def finish(self, patience_s=PATIENCE_S):
        assert self.process.wait(patience_s) == 0, self.log.read_text()[-3000:]


@pytest.fixture
def train(machines, s3, tmp_path, drill_folder, request):
    """Function that stores shards, deletes them here, and starts a training with changed settings."""
    started = []

    def start(shards, settings):
        digest = data_digest(read_manifest(shards))
        store_shards(Store(s3["LIA_STORE_URL"]), shards)
        folder = tmp_path / "driver"
        folder.mkdir()
        content = {
            "settings": settings.model_dump(mode="json"),
            "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
            "ray_address": machines.cluster.address,
            "ray_home": None,
            "data_digest": digest,
            "store_url": s3["LIA_STORE_URL"],
            "storage": f"{s3['LIA_STORE_URL']}/{request.node.name}",
        }
        (folder / "drill.json").write_text(json.dumps(content))
        path = drill_folder / f"{request.node.name}.log"
        command = [sys.executable, "-m", "tests.drills.faulty_training", str(folder)]
        path.unlink(missing_ok=True)
        # The notes of the test come between the program's lines.
        with path.open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
        started.append(process)
        return Training(folder, path, process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()


@pytest.fixture
def shards(tmp_path):
    noise = np.random.default_rng(0)
    folder = tmp_path / "made"
    write_shards(folder, {"train": list(noise.integers(0, 256, (6, 5, 32, 32, 3), dtype=np.uint8))}, 32)
    return folder


def elastic(train_settings, **changes):
    changes = {"num_workers": (1, 2), "micro_batch_size": 2} | changes
    return TrainSettings.model_validate(train_settings.model_dump(mode="json") | changes)


def test_machines_that_share_a_store_alone_train_lose_one_and_finish(machines, train, shards, train_settings):
    changes = {"log_every_steps": 5, "checkpoint_every_steps": 20, "strip_every_steps": 60}
    digest = data_digest(read_manifest(shards))
    training = train(shards, elastic(train_settings, num_steps=NUM_STEPS, **changes))
    shutil.rmtree(shards)
    training.wait_for(lambda: training.last_checkpoint() >= 20)
    for name in ("one", "two"):
        found = machines.cached_shards(name, digest)
        training.note(f"machine {name} has fetched {', '.join(found)}")
        assert found == [f"train/{number:05d}.tar" for number in range(3)]
    training.note(f"machine two is lost after the checkpoint of step {training.last_checkpoint()}")
    machines.lose("two")
    training.finish()
    steps = sorted(training.curve("loss/l1"))
    training.note(f"logged steps: {steps}")
    assert steps == list(range(5, NUM_STEPS + 1, 5))
    # The result came back from the store, whole.
    verify_hashes(training.folder / "result")
    assert json.loads((training.folder / "result/training.json").read_text())["step"] == NUM_STEPS
    # Nothing is beside the store, but the journal and the result of the machine that started the training.
    assert {file.name for file in training.folder.iterdir()} >= {"journal", "result"}
    assert not (training.folder / "storage").exists()


def test_a_machine_leaves_and_returns_and_the_run_shrinks_and_grows(machines, train, shards, train_settings):
    # At these rates weights move evenly: what differs in rounding stays small, and a wrong pair shows.
    optimizer = train_settings.optimizer.model_copy(
        update={"generator_lr": 1e-6, "discriminator_lr": 1e-6}
    ).model_dump()
    settings = elastic(
        train_settings,
        num_steps=ELASTIC_NUM_STEPS,
        log_every_steps=10,
        checkpoint_every_steps=100,
        strip_every_steps=2000,
        optimizer=optimizer,
    )
    training = train(shards, settings)
    training.wait_for(lambda: training.last_checkpoint() >= 100)
    assert training.num_workers() == 2
    training.note(f"machine two is lost at step {training.step()}")
    machines.lose("two")
    lost = training.last_checkpoint()
    training.wait_for(lambda: training.last_checkpoint() > lost)
    assert training.num_workers() == 1
    training.note(f"one worker has come to step {training.step()}; machine two returns")
    machines.join("two")
    training.wait_for(lambda: training.num_workers() == 2, ELASTIC_PATIENCE_S)
    training.note(f"two workers have come to step {training.step()}")
    training.finish(ELASTIC_PATIENCE_S)

    (run_,) = MlflowClient(training.tracking_uri).search_runs(
        [MlflowClient(training.tracking_uri).get_experiment_by_name("lia").experiment_id]
    )
    assert run_.info.status == "FINISHED"
    history = MlflowClient(training.tracking_uri).get_metric_history(run_.info.run_id, "loss/l1")
    assert sorted(metric.step for metric in history) == list(range(10, ELASTIC_NUM_STEPS + 1, 10))

    start, alone, elastically = (new_state(settings, 32, CPU) for _ in range(3))
    load_state(elastically, training.folder / "result")
    expected = {}
    clips = ShardedClips(shards, "train")
    hooks = Hooks(on_metrics=lambda step, values: expected.update({step: values["loss/l1"]}))
    run(alone, build_loader(clips, settings), settings, hooks)
    assert elastically.num_pairs == alone.num_pairs
    found = training.curve("loss/l1")
    steps = sorted(expected)
    apart = max(abs(found[step] - expected[step]) for step in steps)
    between_steps = np.median(np.abs(np.diff([expected[step] for step in steps])))
    weights = [
        torch.cat([p.detach().flatten() for p in state.generator.parameters()])
        for state in (start, alone, elastically)
    ]
    moved, distance = (weights[1] - weights[0]).norm(), (weights[2] - weights[1]).norm()
    share = distance / moved
    training.note(
        f"beside an undisturbed run in one process: losses differ by at most {apart:.1e} (by "
        f"{between_steps:.1e} from one logged step to the next), weights by {share:.1e} of their way"
    )
    assert apart < 0.05 * between_steps
    assert distance < 0.02 * moved
