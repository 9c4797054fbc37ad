"""What Ray Train adds to a step of one worker: the same training under Ray and in the bare loop, at once.

Both run on the same pairs, each on a core of its own, and swap cores every second, so that whatever else
the machine does is the same for both. The network at 256 px is so narrow that a step takes about a second:
at full width the same overhead is a smaller share. Ray's own processes use either core; what they and the
program that started the training take is told beside the step.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
import psutil

from lia_model.registry.run_journal import entries
from lia_model.settings import TrainSettings
from tests.benchmarks.timing import Row
from tests.drills.drilled_training import wait_for, workers_of
from tests.lia_model.conftest import train_settings
from tests.lia_model.shards_on_disk import write_shards

SIZE_PX = 256
PAIRS_PER_STEP = 2
LOG_EVERY_STEPS = 4
ENDLESS = 1_000_000
ROUND_S = 30.0
TURN_S = 1.0
NUM_WARM_UP_STEPS = 3 * LOG_EVERY_STEPS

Reports = list[tuple[float, int]]
"""Times in seconds since 1970 with the step that was reported then."""


def settings() -> TrainSettings:
    """Return the recipe of the tests with a wider network; it writes no checkpoints and does not end."""
    values = train_settings.__wrapped__().model_dump(mode="json")
    return TrainSettings.model_validate(
        values
        | {
            "network": {"width": 0.125, "latent_dim": 64, "num_directions": 10},
            "global_batch_size": PAIRS_PER_STEP,
            "micro_batch_size": PAIRS_PER_STEP,
            "num_steps": ENDLESS,
            "log_every_steps": LOG_EVERY_STEPS,
            "strip_every_steps": ENDLESS,
            "checkpoint_every_steps": ENDLESS,
        }
    )


def measure(num_rounds: int) -> Iterator[Row]:
    """Yield one row: seconds a step under Ray, as `ours`, and in the bare loop, in each round."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        with _under_ray(home / "ray") as program, _bare(home / "bare") as (bare, told):

            def reports() -> tuple[Reports, Reports]:
                return _journalled(home / "ray"), list(told)

            wait_for(lambda: all(each and each[-1][1] >= NUM_WARM_UP_STEPS for each in reports()))
            (worker,) = workers_of(program)
            before_s, start = _processor_s(program, worker), time.time()
            _swap_cores(worker.pid, bare.pid, num_rounds * ROUND_S)
            others_s = _processor_s(program, worker) - before_s
            share = others_s / (time.time() - start)
            under_ray, alone = reports()
    bounds = [start + number * ROUND_S for number in range(num_rounds + 1)]
    seconds = {"ours": seconds_a_step(under_ray, bounds), "bare loop": seconds_a_step(alone, bounds)}
    note = (
        f"width 0.125, {PAIRS_PER_STEP} pairs, one worker with one thread, fp32, each on its own core; "
        f"Ray's other processes and the driver take {share:.1%} of a core"
    )
    yield Row("ray", f"{SIZE_PX} px, a training step under Ray", seconds, note)


def seconds_a_step(reports: Reports, bounds: Sequence[float]) -> list[float]:
    """Return how long a step took between each two bounds; between two reports steps are taken as even."""
    times, steps = zip(*reports, strict=True)
    reached = np.interp(bounds, times, steps)
    return [float(one) for one in np.diff(bounds) / np.diff(reached)]


@contextmanager
def _under_ray(folder: Path) -> Iterator[subprocess.Popen]:
    _write_noise(folder)
    content = {
        "settings": settings().model_dump(mode="json"),
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "ray_address": None,
        "ray_home": mkdtemp(prefix="ray-"),
        "storage": str(folder / "storage"),
    }
    (folder / "drill.json").write_text(json.dumps(content))
    with _program("tests.drills.faulty_training", folder, subprocess.DEVNULL) as program:
        yield program


@contextmanager
def _bare(folder: Path) -> Iterator[tuple[subprocess.Popen, Reports]]:
    _write_noise(folder)
    (folder / "train.json").write_text(settings().model_dump_json())
    told: Reports = []

    def listen(program: subprocess.Popen) -> None:
        for line in program.stdout or ():
            if found := re.match(r"step (\d+) ", line):
                told.append((time.time(), int(found[1])))

    with _program("lia_model.training.loop", folder, subprocess.PIPE) as program:
        threading.Thread(target=listen, args=(program,), daemon=True).start()
        yield program, told


@contextmanager
def _program(module: str, folder: Path, output: int) -> Iterator[subprocess.Popen]:
    # Ray's workers yield to other programs by default, which counts on a machine with other work.
    variables = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "RAY_worker_niceness": "0",
    }
    command = [sys.executable, "-m", module, str(folder)]
    # In a session of its own, as Ray's workers are: Linux shares a core fairly between sessions.
    program = subprocess.Popen(
        command, env=variables, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield program
    finally:
        for one in (*psutil.Process(program.pid).children(recursive=True), program):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        program.wait()


def _write_noise(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 5, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    write_shards(folder / "shards", {"train": list(noise)}, SIZE_PX)


def _journalled(folder: Path) -> Reports:
    return [
        (entry["time_ms"] / 1000, entry["step"])
        for entry, _ in entries(folder / "journal")
        if "loss/l1" in entry.get("metrics", {})
    ]


def _processor_s(program: subprocess.Popen, worker: psutil.Process) -> float:
    """Return the processor time of the program and of all it has started, but the worker, so far."""
    driver = psutil.Process(program.pid)
    others = [driver, *(each for each in driver.children(recursive=True) if each.pid != worker.pid)]
    return sum(sum(each.cpu_times()[:2]) for each in others)


def _swap_cores(one: int, other: int, duration_s: float) -> None:
    """Keep each process on a core of its own, and swap the two again and again."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        cores.reverse()
        for pid, core in zip((one, other), cores, strict=True):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), {core})
        time.sleep(TURN_S)
