import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, fetched, models, runs
from lia_model.settings import NetworkSettings
from preprocessing.storage import held_folder
from tests.ports import free_port

FETCH = """
import sys, time
from pathlib import Path
from lia_model.registry.fetched import fetch_once
def download(folder):
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("weights")
    print("downloading", flush=True)
    return str(folder / "model")
place = fetch_once("s3://bucket/m-1", download)
assert place == fetch_once("s3://bucket/m-1", download)
assert place != fetch_once("s3://bucket/m-2", download)
assert (place / "weights").read_text() == "weights"
print(place, flush=True)
if sys.argv[1:] == ["wait"]:
    time.sleep(600)
"""


def start(folder, *arguments):
    command = [sys.executable, "-c", FETCH, *arguments]
    return subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(folder)}, text=True, stdout=subprocess.PIPE
    )


def test_a_place_is_fetched_once_by_a_process_and_gone_after_it(tmp_path):
    told, _ = start(tmp_path).communicate(timeout=120)
    first, second, place = told.splitlines()
    assert first == second == "downloading"
    assert Path(place).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def third_line(process):
    assert process.stdout is not None
    return [next(process.stdout) for _ in range(3)][2].strip()


def test_what_a_killed_process_left_is_removed_and_what_another_uses_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(held_folder, "_START_S", 0)
    with start(tmp_path, "wait") as killed, start(tmp_path, "wait") as living:
        left, used = (Path(third_line(one)).parent for one in (killed, living))
        try:
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            assert left.is_dir()
            home = fetched._home.__wrapped__(tmp_path)
            assert {*tmp_path.iterdir()} == {used, home}
        finally:
            living.kill()
            killed.kill()


@pytest.fixture
def server(tmp_path):
    """URL of an MLflow server that hands out the files of its models itself."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        *("--artifacts-destination", str(tmp_path / "kept")),
    ]
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline_s = time.monotonic() + 120
        while True:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.3)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_version_of_a_server_is_one_copy_in_this_process(server, tmp_path, monkeypatch):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server)
    try:
        settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
        save_generator(tmp_path / "final", build_generator(settings, seed=1), {})
        run = runs.open_run("registered", tmp_path / "unused", {}, {})
        version = models.register("lia-far", tmp_path / "final", run.run_id, {})
        aliases.set_alias("lia-far", aliases.CHAMPION, version)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        first = models.resolve("models:/lia-far@champion").directory
        assert models.resolve(f"models:/lia-far/{version}").directory == first
        assert Animator.load("models:/lia-far@champion").size_px == 32
        (home,) = (tmp_path / "temporary").iterdir()
        assert [path for path in home.iterdir() if path.is_dir()] == [first]
        copy = models.fetch_checkpoint(f"models:/lia-far/{version}", tmp_path / "temporary")
        assert copy.is_relative_to(tmp_path / "temporary")
        assert Animator.load(copy).size_px == 32
    finally:
        mlflow.set_tracking_uri(before)
