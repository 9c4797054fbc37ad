"""Two machines that share nothing but an object store train, lose one of them, and finish.

They are two raylets on this machine, each with a home and a temporary folder of its own. The shards are in
the store alone: the program that starts the training has only their hash.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from lia_model.checkpoints.file_hashes import verify_hashes
from lia_model.registry.run_journal import curves, last_checkpoint
from preprocessing.shards.manifest import data_digest, read_manifest
from preprocessing.storage.exchange import SHARDS_BUNDLE
from preprocessing.storage.object_store import Store
from tests.lia_model.shards_on_disk import write_shards

pytestmark = pytest.mark.drill

NUM_STEPS = 120
PATIENCE_S = 400


@pytest.fixture
def machines(s3, tmp_path, monkeypatch):
    """A cluster whose head runs no workers, and two machines for them."""
    from ray.cluster_utils import Cluster

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": tempfile.mkdtemp(prefix="ray-")}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=True)
    for name in ("one", "two"):
        home = tmp_path / name
        home.mkdir()
        cluster.add_node(
            num_cpus=1, temp_dir=tempfile.mkdtemp(prefix="ray-"), env_vars={"HOME": str(home)} | s3
        )
    yield cluster
    cluster.shutdown()


def wait_for(is_so, program):
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert program.poll() is None, "the program ended"
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.1)


def test_machines_that_share_a_store_alone_train_lose_one_and_finish(
    machines, s3, train_settings, tmp_path, drill_folder
):
    noise = np.random.default_rng(0)
    shards = tmp_path / "made"
    write_shards(shards, {"train": list(noise.integers(0, 256, (6, 5, 32, 32, 3), dtype=np.uint8))}, 32)
    digest = data_digest(read_manifest(shards))
    files = (path for path in shards.rglob("*") if path.is_file())
    Store(s3["LIA_STORE_URL"]).put(SHARDS_BUNDLE, {str(path.relative_to(shards)): path for path in files})
    shutil.rmtree(shards)

    folder = tmp_path / "driver"
    folder.mkdir()
    settings = train_settings.model_dump(mode="json") | {
        "num_workers": (1, 2),
        "micro_batch_size": 2,
        "num_steps": NUM_STEPS,
        "log_every_steps": 5,
        "checkpoint_every_steps": 20,
        "strip_every_steps": 60,
    }
    content = {
        "settings": settings,
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "ray_address": machines.address,
        "ray_home": None,
        "data_digest": digest,
        "store_url": s3["LIA_STORE_URL"],
        "storage": f"{s3['LIA_STORE_URL']}/training",
    }
    (folder / "drill.json").write_text(json.dumps(content))
    path = drill_folder / "separate_machines.log"
    with path.open("w") as log:
        command = [sys.executable, "-m", "tests.drills.faulty_training", str(folder)]
        program = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])

        def note(line):
            log.write(f"--- {line}\n")
            log.flush()

        try:
            wait_for(lambda: last_checkpoint(folder / "journal") >= 20, program)
            caches = {name: tmp_path / name / ".cache/lia/shards" / digest for name in ("one", "two")}
            for name, cache in caches.items():
                found = sorted(str(file.relative_to(cache)) for file in cache.rglob("*.tar"))
                note(f"machine {name} has fetched {', '.join(found)}")
                assert found == [f"train/{number:05d}.tar" for number in range(3)]
            note(f"machine two is lost after the checkpoint of step {last_checkpoint(folder / 'journal')}")
            machines.remove_node(machines.list_all_nodes()[-1], allow_graceful=False)
            assert program.wait(PATIENCE_S) == 0, path.read_text()[-3000:]
        finally:
            if program.poll() is None:
                program.kill()
        steps = sorted(curves(folder / "journal", ("loss/l1",))["loss/l1"])
        note(f"logged steps: {steps}")
    assert steps == list(range(5, NUM_STEPS + 1, 5))
    # The result came back from the store, whole.
    verify_hashes(folder / "result")
    assert json.loads((folder / "result/training.json").read_text())["step"] == NUM_STEPS
    # Nothing is beside the store, but the journal and the result of the machine that started the training.
    assert {file.name for file in folder.iterdir()} >= {"journal", "result"}
    assert not (folder / "storage").exists()
