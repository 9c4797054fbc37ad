"""A project whose animation service runs as a user starts it: `lia serve` on its own Ray head."""

import subprocess
import sys
import time
from contextlib import contextmanager

import httpx

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines.project_paths import ProjectPaths
from tests.lia_model.serving.service import png

START_S = 120


def save_tiny_model(project):
    """Write a tiny model's checkpoint into the project."""
    network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(project.root / "model", build_generator(network, seed=0))


REGISTRATION = """
import sys
from pathlib import Path
from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models, runs
from lia_model.settings import NetworkSettings
from pipelines.environment import read_environment

environment = read_environment(Path.cwd())
environment.activate()
network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
for number in range(int(sys.argv[1])):
    checkpoint = Path("registered", str(number), "final")
    save_generator(checkpoint, build_generator(network, seed=number), {})
    run = runs.open_run(f"run {number}", environment.paths.artifacts, {}, {})
    models.register("lia", checkpoint, run.run_id, {})
aliases.set_alias("lia", "champion", "1")
"""


def register_tiny_models(project, count):
    """Register so many versions of the model `lia`; the first is the champion."""
    project.run(sys.executable, "-c", REGISTRATION, str(count))


def submit(client, clip, **fields):
    files = {"source": ("face.png", png()), "driving": ("clip.mp4", clip.read_bytes())}
    return client.post("/v1/animations", files=files, data={"crop": "false"} | fields)


def status(client, job):
    return client.get(f"/v1/animations/{job}").json()


def has_succeeded(client, job):
    told = status(client, job)
    assert told["status"] in ("queued", "running", "succeeded"), told
    return told["status"] == "succeeded"


def logs_of(project):
    """What the command and the service's processes have logged; Ray keeps what these write to stderr."""
    logs = ProjectPaths(project.root).ray_home / "session_latest" / "logs"
    files = [*logs.glob("serve/*.log"), *logs.glob("worker-*.err"), project.root / "serve.log"]
    return "\n".join(file.read_text() for file in files)


@contextmanager
def serving(project, model="model"):
    """Serve the model on the project's own Ray head; yield a client and the program."""
    project.run("lia", "up", "ray", timeout_s=240)
    with (project.root / "serve.log").open("w") as log:
        command = ["lia", "serve", "--model", model]
        program = subprocess.Popen(command, cwd=project.root, env=project.variables, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{project.variables['LIA_SERVE_PORT']}"
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            wait_until(lambda: answers(client), START_S, project)
            yield client, program
    finally:
        program.terminate()
        program.wait(60)
        project.run("lia", "stop")


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds, patience_s, project):
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, (project.root / "serve.log").read_text()
        time.sleep(0.05)
