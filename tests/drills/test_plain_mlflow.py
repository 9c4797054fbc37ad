"""A registered version on a machine that has its own requirements alone: no checkout, no Ray, no Prefect."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from lia_model.animator import Animator
from lia_model.checkpoints.directory import save_generator
from tests.pipelines.released_models import painting
from tests.ports import free_port

pytestmark = pytest.mark.drill

INSTALL_S, START_S = 1800, 300
REGISTER = """
import logging
from pathlib import Path
from lia_model.registry import models, runs
logging.basicConfig(level=logging.WARNING, format="LOGGED %(levelname)s %(name)s: %(message)s")
run = runs.open_run("trained", Path("artifacts").absolute(), {}, {})
models.register("lia", Path("final"), run.run_id, {})
"""
REQUIREMENTS = """
import shutil, mlflow.artifacts
shutil.copy(mlflow.artifacts.download_artifacts("models:/lia/1/requirements.txt"), "requirements.txt")
"""
PREDICT = """
import importlib.util
import sys
import mlflow.pyfunc
import numpy as np
found = [name for name in ("lia_model", "ray", "prefect", "av") if importlib.util.find_spec(name)]
assert not found, found
model = mlflow.pyfunc.load_model("models:/lia/1")
assert "/code/" in sys.modules["lia_model"].__file__
given = np.load("given.npz")
frames = model.predict({"source": given["source"], "driving": given["driving"]}, params={"mode": "absolute"})
np.save("frames.npy", frames)
"""


def variables(folder: Path) -> dict[str, str]:
    """Those of a user whose MLflow store is in the folder."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return inherited | store


def run(command: list[str | Path], folder: Path, timeout_s: float, **more: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables(folder) | more,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an MLflow store that holds a version, and with what it is asked to animate.

    Registering printed no warning.
    """
    folder = tmp_path_factory.mktemp("plain")
    save_generator(folder / "final", painting(90), {})
    rng = np.random.default_rng(0)
    source, driving = (rng.integers(0, 256, (num, 40, 40, 3), dtype=np.uint8) for num in (1, 3))
    np.savez(folder / "given.npz", source=source, driving=driving)
    told = run([sys.executable, "-c", REGISTER], folder, 300, PYTHONPATH=str(Path(__file__).parents[2]))
    assert [line for line in told.splitlines() if "LOGGED" in line or "warning" in line.lower()] == []
    return folder


@pytest.fixture(scope="module")
def python(registered: Path) -> Path:
    """A Python that has the version's own requirements and nothing else."""
    run([sys.executable, "-c", REQUIREMENTS], registered, 300)
    run([sys.executable, "-m", "venv", "venv"], registered, 300)
    python = registered / "venv/bin/python"
    run([python, "-m", "pip", "install", "--quiet", "-r", "requirements.txt"], registered, INSTALL_S)
    return python


def expected(folder: Path) -> np.ndarray:
    given = np.load(folder / "given.npz")
    animator = Animator.load(folder / "final")
    return np.stack(list(animator.animate(given["source"][0], given["driving"], mode="absolute")))


def test_load_model_gives_the_frames_of_the_checkpoint(registered: Path, python: Path) -> None:
    run([python, "-I", "-c", PREDICT], registered, 300)
    frames = np.load(registered / "frames.npy")
    assert np.abs(frames.astype(int) - expected(registered)).max() <= 1


def test_models_serve_answers_with_the_frames(registered: Path, python: Path) -> None:
    port = free_port()
    command = [python.with_name("mlflow"), "models", "serve", "-m", "models:/lia/1", "--env-manager", "local"]
    # The server that MLflow starts is looked up on PATH.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    with (registered / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=registered,
            env=variables(registered) | {"PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            answer = ask(port, registered)
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
    assert np.abs(answer - expected(registered)).max() <= 1


def ask(port: int, folder: Path) -> np.ndarray:
    """Return the frames that the server answers with, once it has started."""
    address, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=5)
            break
        except OSError:
            assert time.monotonic() < deadline_s, (folder / "serve.log").read_text()[-3000:]
            time.sleep(1)
    given = np.load(folder / "given.npz")
    inputs = {name: given[name].tolist() for name in ("source", "driving")}
    body = json.dumps({"inputs": inputs, "params": {"mode": "absolute"}}).encode()
    request = urllib.request.Request(
        f"{address}/invocations", body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return np.array(json.load(reply)["predictions"])
