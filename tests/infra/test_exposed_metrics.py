"""Dashboards and alerts against the metrics that the service, Ray and Prefect really expose."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from ray.dashboard.consts import GPU_TAG_KEYS
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from pipelines.local.services import end_with_family
from tests.infra.monitoring import assert_exposed, exposed_in, missing_of, scrape_configs
from tests.lia_model.serving.live import live
from tests.ports import free_port, free_ports

PATIENCE_S = 120


def add_scrapes(found, url, is_complete):
    """Scrape until `is_complete`, and add the labels by metric of all scrapes to `found`."""
    deadline = time.monotonic() + PATIENCE_S
    with httpx.Client(trust_env=False, timeout=10) as client:
        while not is_complete() and time.monotonic() < deadline:
            try:
                text = client.get(url).raise_for_status().text
            except httpx.TransportError:
                text = ""
            for name, labels in exposed_in(text).items():
                found.setdefault(name, set()).update(labels)
            time.sleep(0.5)


def test_the_service_exposes_what_is_read(tmp_path):
    with live(tmp_path) as service:
        service.submit()
        found = exposed_in(service.client.get("/metrics").text)
    assert_exposed("serve", found)


@contextmanager
def running(*command, log, **variables):
    script = str(Path(sys.executable).parent / command[0])
    with log.open("w") as file:
        process = subprocess.Popen(
            [script, *command[1:]], env={**os.environ, **variables}, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        end_with_family(psutil.Process(process.pid))
        process.wait()


@pytest.mark.drill
def test_prefect_exposes_what_is_read(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_METRICS_ENABLED": "true",
    }
    server = ("prefect", "server", "start", "--port", str(port))
    worker = ("prefect", "worker", "start", "--pool", "lia", "--type", "process")
    with running(*server, log=tmp_path / "server.log", **variables):
        metrics = url + scrape_configs()["prefect"]["metrics_path"]
        found = {}
        add_scrapes(found, metrics, lambda: found)
        assert found, (tmp_path / "server.log").read_text()
        with running(*worker, log=tmp_path / "worker.log", **variables):
            add_scrapes(found, metrics, lambda: not missing_of("prefect", found))
    assert_exposed("prefect", found)


def of_gpus():
    """Return the labels by metric of those that a machine without a GPU does not expose."""
    return {
        f"ray_{name}": {*GPU_TAG_KEYS}
        for name in METRICS_GAUGES
        if name.startswith(("node_gpu", "node_gram"))
    }


@pytest.mark.drill
def test_ray_exposes_what_is_read(tmp_path):
    port, dashboard_port = free_ports(2)
    url, stop, log = f"http://127.0.0.1:{port}/metrics", tmp_path / "stop", tmp_path / "log"
    of_the_end = {"ray_train_worker_group_shutdown_total_time_s"}
    found = of_gpus()
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="lia") as home:
        program = (
            "python",
            "-m",
            "tests.infra.busy_cluster",
            str(port),
            str(dashboard_port),
            home,
            str(stop),
        )
        with running(*program, log=log):
            add_scrapes(found, url, lambda: missing_of("ray", found) <= of_the_end)
            stop.touch()
            add_scrapes(found, url, lambda: not missing_of("ray", found))
    assert not missing_of("ray", found), log.read_text()
