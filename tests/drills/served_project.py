"""A project whose animation service runs as a user starts it: `lia serve` on its own Ray head."""

import subprocess
import time
from contextlib import contextmanager

import httpx

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings

START_S = 120


def save_tiny_model(project):
    """Write a tiny model's checkpoint into the project."""
    network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(project.root / "model", build_generator(network, seed=0))


@contextmanager
def serving(project):
    """Serve the tiny model on the project's own Ray head; yield a client and the program."""
    project.run("lia", "up", "ray", timeout_s=240)
    with (project.root / "serve.log").open("w") as log:
        command = ["lia", "serve", "--model", "model"]
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
