"""A training whose checkpoints are in an object store goes on when that store is down for a while."""

import json
import signal
import time
from pathlib import Path

import pytest

from lia_model.checkpoints.best import BEST, read_best
from lia_model.checkpoints.directory import load_generator
from lia_model.checkpoints.versions import TRAINING_JSON
from lia_model.registry.run_journal import entries
from lia_model.training.cluster.best_storage import fetch_best
from lia_model.training.cluster.run_storage import MILESTONES, RAY_LIST, RAY_PREFIX, RunStorage
from lia_model.training.cluster.stored_folder import download_folder, folders_in, is_finished
from tests.drills.drilled_training import NUM_STEPS, workers_of
from tests.object_store import stoppable_s3

pytestmark = pytest.mark.drill

NUM_KEPT = 2
OUTAGE_S = 120


@pytest.fixture
def server(monkeypatch):
    with stoppable_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def settings(settings):
    return settings | {"validate_every_steps": 20, "num_kept_checkpoints": NUM_KEPT}


def warnings_of(drill):
    return [entry["warning"] for entry, _ in entries(drill.folder / "journal") if "warning" in entry]


def waits_of_ray(drill):
    """What processes of Ray that run no code of ours had to wait for, from their logs."""
    home = Path(json.loads((drill.folder / "drill.json").read_text())["ray_home"])
    lines = {
        line for log in home.glob("session_2*/logs/worker-*.err") for line in log.read_text().splitlines()
    }
    return sorted(line for line in lines if line.startswith("the store is") and RAY_LIST in line)


def require_whole(storage, folder):
    """Check every checkpoint, milestone and best generator of a run; return the steps of the first two."""
    files, root = storage.open()
    place = f"{root}/{storage.name}"
    names = [name for name in folders_in(files, place) if name.startswith(RAY_PREFIX)]
    names += [f"{MILESTONES}/{name}" for name in folders_in(files, f"{place}/{MILESTONES}")]
    found = {"checkpoints": [], "milestones": []}
    for name in names:
        if name.startswith(RAY_PREFIX) and not is_finished(files, f"{place}/{name}"):
            # SeaweedFS keeps the folder of a checkpoint that was removed for a while.
            continue
        download_folder(files, f"{place}/{name}", folder / name)
        step = json.loads((folder / name / TRAINING_JSON).read_text())["step"]
        found["milestones" if name.startswith(MILESTONES) else "checkpoints"].append(step)
    with files.open_input_stream(f"{place}/{RAY_LIST}") as file:
        listed = file.read().decode()
    assert [name for name in names if name.startswith(RAY_PREFIX)][-1] in listed
    fetch_best(storage, folder)
    assert read_best(folder) is not None
    load_generator(folder / BEST)
    return found


def test_a_store_that_is_down_for_two_minutes_costs_no_step(drill, settings, undisturbed, server, tmp_path):
    url = f"{server.variables['LIA_STORE_URL']}/training"
    drill.prepare(settings, storage=url)
    program = drill.start()
    drill.wait_for_checkpoint(20)
    server.stop()
    stopped_s = time.monotonic()
    drill.note(f"the store is killed at step {drill.step()}")
    while time.monotonic() - stopped_s < OUTAGE_S:
        time.sleep(20)
        drill.note(f"{time.monotonic() - stopped_s:.0f} s later the training is at step {drill.step()}")
        assert program.poll() is None, drill.log.read_text()[-3000:]
    assert drill.step() < NUM_STEPS
    server.start()
    drill.note(f"the store is back, {time.monotonic() - stopped_s:.0f} s after it was killed")
    drill.finish(program)
    told = warnings_of(drill)
    for line in [*told, *waits_of_ray(drill)]:
        drill.note(f"waited: {line}")
    assert any("the store is down" in line for line in told)
    assert any("the store is back after 1" in line for line in told)
    assert "started again" not in drill.log.read_text()
    assert drill.losses() == undisturbed
    found = require_whole(RunStorage(url, "run"), tmp_path / "stored")
    drill.note(f"whole in the store: {found}")
    assert found == {"checkpoints": [50, 60], "milestones": [30, 60]}


def test_a_worker_killed_while_the_store_is_down_is_started_again_and_waits(
    drill, settings, undisturbed, server, tmp_path
):
    url = f"{server.variables['LIA_STORE_URL']}/training"
    drill.prepare(settings, storage=url)
    program = drill.start()
    drill.wait_for_checkpoint(20)
    server.stop()
    drill.note(f"the store is killed at step {drill.step()}")
    time.sleep(5)
    workers_of(program)[0].send_signal(signal.SIGKILL)
    drill.note("SIGKILL to worker 0")
    time.sleep(60)
    assert program.poll() is None, drill.log.read_text()[-3000:]
    server.start()
    drill.note("the store is back")
    drill.finish(program)
    for line in [*warnings_of(drill), *waits_of_ray(drill)]:
        drill.note(f"waited: {line}")
    assert drill.log.read_text().count("started again") == 1
    assert drill.losses() == undisturbed
    found = require_whole(RunStorage(url, "run"), tmp_path / "stored")
    drill.note(f"whole in the store: {found}")
    assert found["milestones"] == [30, 60]
    assert found["checkpoints"][-1] == NUM_STEPS
