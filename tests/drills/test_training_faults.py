"""What a training meets on real machines, done to a small one: each drill leaves the log of its program."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lia_model.checkpoints.best import BEST
from lia_model.registry.run_journal import entries, last_checkpoint
from lia_model.training.cluster.run_storage import MILESTONES, RAY_PREFIX
from tests.drills.drilled_training import LOG_EVERY_STEPS, NUM_STEPS, PATIENCE_S, wait_for, workers_of
from tests.drills.faulty_training import ENDED
from tests.ports import free_ports

pytestmark = pytest.mark.drill

LONG_NUM_STEPS = 900


def test_three_killed_workers_and_a_killed_driver_leave_one_curve(drill, settings, undisturbed):
    drill.prepare(settings)
    program = drill.start()
    for step, rank in ((12, 0), (27, 1)):
        drill.wait_for_step(step, program)
        worker = workers_of(program)[rank]
        drill.note(f"SIGKILL to worker {rank}, {worker.pid}, at step {drill.step()}")
        worker.send_signal(signal.SIGKILL)
    drill.wait_for_step(42, program)
    drill.note(f"SIGKILL to the driver at step {drill.step()}")
    program.kill()
    program.wait()
    time.sleep(2)
    program = drill.start()
    drill.finish(program)
    assert drill.losses() == undisturbed
    folder = drill.folder / "storage/run"
    assert sorted(path.name for path in (folder / MILESTONES).iterdir()) == ["step-00000030", "step-00000060"]
    # Nothing is left of what was being written, or was not yet on Ray's list.
    kept = [path for path in folder.iterdir() if path.name.startswith((".", RAY_PREFIX)) and path.is_dir()]
    assert len(kept) == settings["num_kept_checkpoints"]
    assert not (folder / BEST).exists()


def test_a_driver_killed_three_times_leaves_one_run_with_every_value_once(drill, settings):
    drill.prepare(settings | {"validate_every_steps": 10})
    # The last one at a step whose checkpoint is being stored or validated.
    for step in (12, 33, 50):
        program = drill.start()
        drill.wait_for_step(step, program)
        drill.note(f"SIGKILL to the driver at step {drill.step()}")
        program.kill()
        program.wait()
    drill.finish(drill.start())
    (run,) = drill.runs()
    client = MlflowClient(drill.tracking_uri)
    for name in run.data.metrics:
        every = 10 if name.startswith("validation/") else LOG_EVERY_STEPS
        steps = sorted(point.step for point in client.get_metric_history(run.info.run_id, name))
        assert steps == list(range(every, NUM_STEPS + 1, every)), name
    assert {"validation/l1", "loss/l1", "speed/data_wait_share"} < run.data.metrics.keys()
    pictures = client.list_artifacts(run.info.run_id, "images")
    shown = sorted(path.path.rpartition("/")[2].split("+")[:3:2] for path in pictures)
    assert shown.count(["strip", "20"]) == shown.count(["validation_directions", "50"]) == 2


@pytest.fixture
def server(tmp_path):
    """Function that starts a real MLflow server on always the same port and returns its process."""
    (port,) = free_ports(1)
    started = []

    def start():
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}",
            "--artifacts-destination", str(tmp_path / "served"),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)
        wait_for(lambda: _answers(port))
        return process

    start.uri = f"http://127.0.0.1:{port}"
    start.stop = _stop_session
    yield start
    for process in started:
        _stop_session(process)


def _answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _stop_session(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_outages_of_mlflow_at_start_middle_and_end_stop_nothing(drill, settings, server):
    drill.tracking_uri = server.uri
    drill.prepare(settings | {"num_steps": LONG_NUM_STEPS})
    program = drill.start()
    drill.wait_for_step(LOG_EVERY_STEPS, program)
    drill.note("the training runs without MLflow, which starts now")
    first = server()
    wait_for(lambda: drill.runs())
    drill.note(f"MLflow has the run; it is killed at step {drill.step()}")
    server.stop(first)
    seen = drill.step()
    drill.wait_for_step(seen + 4 * LOG_EVERY_STEPS, program)
    drill.note(f"MLflow starts again at step {drill.step()}")
    second = server()
    client = MlflowClient(server.uri)
    (run,) = drill.runs()
    wait_for(lambda: len(client.get_metric_history(run.info.run_id, "loss/l1")) * LOG_EVERY_STEPS > seen)
    drill.note(f"MLflow has caught up; it is killed at step {drill.step()}")
    server.stop(second)
    assert program.wait(PATIENCE_S) == 0
    assert "waiting: " in drill.log.read_text()
    drill.note("MLflow starts for the next command")
    server()
    program = drill.start()
    assert program.wait(PATIENCE_S) == 0
    history = client.get_metric_history(run.info.run_id, "loss/l1")
    every = list(range(LOG_EVERY_STEPS, LONG_NUM_STEPS + 1, LOG_EVERY_STEPS))
    assert sorted(metric.step for metric in history) == every
    assert [run.info.run_id for run in drill.runs()] == [run.info.run_id]


def test_resources_that_are_nowhere_are_named_within_a_minute(drill, settings):
    drill.prepare(settings | {"use_gpu": True})
    program = drill.start()
    wait_for(lambda: "Started a local Ray" in drill.log.read_text())
    started_s = time.monotonic()
    assert program.wait(PATIENCE_S) == ENDED
    drill.note(f"ended {time.monotonic() - started_s:.0f} s after Ray had started")
    assert time.monotonic() - started_s < 60
    last = drill.log.read_text().splitlines()[-2]
    assert last.startswith(
        "ValueError: the training asks for 2 workers of 1 CPU and 1 GPU; the cluster has 4 CPU"
    )


def test_a_machine_without_memory_ends_the_run_in_one_line(drill, settings, monkeypatch):
    # Ray ends all its workers, the one that controls the training too, whenever more than this is in use.
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    drill.prepare(settings)
    program = drill.start()
    assert program.wait(PATIENCE_S) == ENDED
    last = drill.log.read_text().splitlines()[-1]
    assert last.startswith("RepeatedFailureError: the workers failed 4 times since step 0, the last time: ")
    assert "memory" in last


@pytest.mark.parametrize(("when", "free_share"), [("before", 0), ("during", 50)])
def test_a_disk_that_is_full_ends_the_run_in_one_line(drill, settings, when, free_share):
    disk = drill.folder / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=6m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    drill.prepare(settings, storage=disk)
    python = f"{sys.executable} -m tests.drills.faulty_training {drill.folder}"
    # The rest of the disk is taken after the first checkpoint, all of it or but for the given share of a
    # checkpoint, and freed before the same command again.
    script = f"""
        {mount}
        {python} & first=$!
        while ! ls {disk}/run/checkpoint_*/hashes.json 2>/dev/null; do sleep 0.1; done
        size_kb=$(du -sk {disk}/run/checkpoint_* | head -1 | cut -f1)
        dd if=/dev/zero of={disk}/rest bs=4k 2>/dev/null
        truncate -s -$((size_kb * {free_share} / 100))K {disk}/rest
        echo "--- the disk is full {when} a checkpoint of $size_kb kB:"; df -k {disk}
        wait $first; echo "--- exit code $?"; ls {disk}/run
        rm {disk}/rest; echo '--- the disk is free again'
        exec {python}
    """
    with drill.log.open("a") as log:
        program = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", script], stdout=log, stderr=log, cwd=Path(__file__).parents[2]
        )
        program.wait(PATIENCE_S)
    told = drill.log.read_text()
    assert f"--- exit code {ENDED}" in told
    (line,) = (line for line in told.splitlines() if line.startswith("FullDiskError: "))
    assert "No space left on device" in line
    assert "the one before it stands" in line
    assert program.returncode == 0, told[-3000:]
    drill.require_one_curve()


@pytest.fixture
def nodes(new_cluster):
    """A cluster of two nodes on this machine, with a folder of its own each."""
    cluster = new_cluster(1)
    cluster.add_node(num_cpus=2)
    return cluster


def test_a_lost_node_is_replaced_and_the_run_goes_on(drill, settings, nodes):
    drill.prepare(settings, ray_address=nodes.address)
    program = drill.start()
    drill.wait_for_checkpoint(10)
    drill.note(f"a node is lost at step {drill.step()}")
    nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
    time.sleep(3)
    drill.note("a node joins")
    nodes.add_node(num_cpus=2)
    drill.finish(program)


def test_a_notice_of_preemption_is_answered_with_a_checkpoint(drill, settings, nodes):
    settings = settings | {"checkpoint_every_steps": 1000, "milestone_every_steps": 0, "num_steps": 400}
    drill.prepare(settings, ray_address=nodes.address)
    program = drill.start()
    drill.wait_for_step(10, program)
    node = nodes.list_all_nodes()[-1]
    drill.note(f"notice for the node {node.node_id} at step {drill.step()}")
    subprocess.run(
        [
            shutil.which("ray"), "drain-node", "--address", nodes.address, "--node-id", node.node_id,
            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "drill",
            "--deadline-remaining-seconds", "20",
        ],
        check=True,
    )  # fmt: skip
    drill.wait_for_checkpoint(11)
    drill.note(f"checkpoint of step {last_checkpoint(drill.folder / 'journal')}; a node joins")
    nodes.add_node(num_cpus=2)
    assert program.wait(PATIENCE_S) == 0, drill.log.read_text()[-3000:]
    steps = [
        entry["step"]
        for entry, _ in entries(drill.folder / "journal")
        if "loss/l1" in entry.get("metrics", {})
    ]
    assert all(later - earlier == LOG_EVERY_STEPS for earlier, later in itertools.pairwise(steps))
