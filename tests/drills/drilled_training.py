"""A small training in a program of its own, to which a drill does something, and where its traces are."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from mlflow import MlflowClient

from lia_model.registry.run_journal import curves, last_checkpoint
from tests.lia_model.shards_on_disk import write_shards

NUM_STEPS = 60
LOG_EVERY_STEPS = 5
LOGGED_STEPS = list(range(LOG_EVERY_STEPS, NUM_STEPS + 1, LOG_EVERY_STEPS))
PATIENCE_S = 420


@dataclass
class Drill:
    """One training and where it leaves its traces."""

    folder: Path
    log: Path

    def __post_init__(self):
        self.tracking_uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        noise = np.random.default_rng(0).integers(0, 256, (3, 5, 32, 32, 3), dtype=np.uint8)
        write_shards(self.folder / "shards", {"train": list(noise), "test": list(noise[:1])}, 32)

    def prepare(self, settings, *, ray_address=None, storage=None):
        content = {
            "settings": settings,
            "tracking_uri": self.tracking_uri,
            "ray_address": ray_address,
            "ray_home": tempfile.mkdtemp(prefix="ray-"),
            "storage": str(storage or self.folder / "storage"),
        }
        (self.folder / "drill.json").write_text(json.dumps(content))

    def start(self):
        """Start the program, as the same command does after a fault."""
        command = [sys.executable, "-m", "tests.drills.faulty_training", str(self.folder)]
        with self.log.open("a") as log:
            log.write(f"--- {' '.join(command)}\n")
            log.flush()
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])

    def note(self, line):
        with self.log.open("a") as log:
            log.write(f"--- {line}\n")

    def finish(self, program):
        """Wait for its end, and check that MLflow has every step once."""
        assert program.wait(PATIENCE_S) == 0, self.log.read_text()[-3000:]
        self.require_one_curve()

    def step(self):
        return max(curves(self.folder / "journal", ("loss/l1",)).get("loss/l1", {0: 0.0}))

    def wait_for_step(self, step, program=None):
        wait_for(lambda: self.step() >= step or (program is not None and program.poll() is not None))
        assert program is None or program.poll() is None, self.log.read_text()[-3000:]

    def wait_for_checkpoint(self, step):
        wait_for(lambda: last_checkpoint(self.folder / "journal") >= step)

    def require_one_curve(self):
        (run,) = self.runs()
        client = MlflowClient(self.tracking_uri)
        for name in ("loss/l1", "gradient_norm/generator", "learning_rate/generator", "speed/pairs_per_s"):
            history = client.get_metric_history(run.info.run_id, name)
            assert sorted(metric.step for metric in history) == LOGGED_STEPS
        assert run.info.status == "FINISHED"

    def runs(self):
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name("lia")
        return [] if experiment is None else client.search_runs([experiment.experiment_id])

    def losses(self):
        return curves(self.folder / "journal", ("loss/",))


def wait_for(is_so, timeout_s=PATIENCE_S):
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.1)


def workers_of(program):
    """The processes of the workers of a training, in the order of their start."""
    found = [
        child
        for child in psutil.Process(program.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline()[:1])
    ]
    return sorted(found, key=lambda child: child.create_time())
