"""What Ray Train adds to a step of one worker: the same training under Ray and in the bare loop, by turns.

Both are programs of their own on the same pairs, with a network at 256 px so narrow that a step takes about a
second: at full width the same overhead is a smaller share. Compared are the loop's own times between reports,
without the first one, which warms up; the start of Ray is not part of a step.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np

from lia_model.registry.run_journal import curves
from lia_model.settings import TrainSettings
from tests.benchmarks.timing import Row
from tests.lia_model.conftest import train_settings
from tests.lia_model.shards_on_disk import write_shards

SIZE_PX = 256
PAIRS_PER_STEP = 2
LOG_EVERY_STEPS = 4
NUM_STEPS = 48
SPEED = "speed/pairs_per_s"


def settings() -> TrainSettings:
    """Return the recipe of the tests with a wider network; checkpoints come at the end alone."""
    values = train_settings.__wrapped__().model_dump(mode="json")
    return TrainSettings.model_validate(
        values
        | {
            "network": {"width": 0.125, "latent_dim": 64, "num_directions": 10},
            "global_batch_size": PAIRS_PER_STEP,
            "micro_batch_size": PAIRS_PER_STEP,
            "num_steps": NUM_STEPS,
            "log_every_steps": LOG_EVERY_STEPS,
            "strip_every_steps": NUM_STEPS,
            "checkpoint_every_steps": NUM_STEPS,
        }
    )


def measure(num_rounds: int) -> Iterator[Row]:
    """Yield one row: seconds a step under Ray, as `ours`, and in the bare loop."""
    seconds: dict[str, list[float]] = {"ours": [], "bare loop": []}
    for _ in range(num_rounds):
        with TemporaryDirectory() as folder:
            seconds["ours"] += under_ray(prepared(Path(folder) / "ray"))
            seconds["bare loop"] += bare(prepared(Path(folder) / "bare"))
    note = f"width 0.125, {PAIRS_PER_STEP} pairs, one worker with one thread, fp32"
    yield Row("ray", f"{SIZE_PX} px, a training step under Ray", seconds, note)


def prepared(folder: Path) -> Path:
    """Write shards of noise and return the folder that holds them."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 5, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    write_shards(folder / "shards", {"train": list(noise)}, SIZE_PX)
    return folder


def under_ray(folder: Path) -> list[float]:
    """Train with one worker of Ray Train; return the seconds of a step in each interval but the first."""
    content = {
        "settings": settings().model_dump(mode="json"),
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "ray_address": None,
        "ray_home": mkdtemp(prefix="ray-"),
        "storage": str(folder / "storage"),
    }
    (folder / "drill.json").write_text(json.dumps(content))
    _run("tests.drills.faulty_training", folder)
    return _seconds(curves(folder / "journal", (SPEED,))[SPEED])


def bare(folder: Path) -> list[float]:
    """Train in the bare loop; return the seconds of a step in each interval but the first."""
    (folder / "train.json").write_text(settings().model_dump_json())
    told = _run("lia_model.training.loop", folder)
    found = re.findall(rf"step (\d+) .*'{SPEED}': ([0-9.e-]+)", told)
    return _seconds({int(step): float(value) for step, value in found})


def _run(module: str, folder: Path) -> str:
    # Ray's workers yield to other programs by default, which counts on a machine with other work.
    variables = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "RAY_worker_niceness": "0",
    }
    command = [sys.executable, "-m", module, str(folder)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def _seconds(pairs_per_s: dict[int, float]) -> list[float]:
    _, *others = sorted(pairs_per_s)
    return [PAIRS_PER_STEP / pairs_per_s[step] for step in others]
