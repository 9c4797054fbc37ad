"""Dashboards and alerts against the metrics that the service, Ray and Prefect really expose."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import ray
from ray.dashboard.consts import GPU_TAG_KEYS
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES
from ray.train import ScalingConfig, report
from ray.train.data_parallel_trainer import DataParallelTrainer

from pipelines.local.cluster import _process_unit
from tests.infra.monitoring import assert_exposed, exposed_in, missing_of, scrape_configs
from tests.lia_model.serving.live import live
from tests.ports import free_port, free_ports

PATIENCE_S = 120


def scraped(url, is_complete):
    """Scrape until `is_complete`, and return the labels by metric of all scrapes."""
    found, deadline = {}, time.monotonic() + PATIENCE_S
    with httpx.Client(trust_env=False, timeout=10) as client:
        while not is_complete(found) and time.monotonic() < deadline:
            try:
                text = client.get(url).raise_for_status().text
            except httpx.TransportError:
                text = ""
            for name, labels in exposed_in(text).items():
                found.setdefault(name, set()).update(labels)
            time.sleep(0.5)
    return found


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
        process.terminate()
        process.wait(60)


@pytest.mark.slow
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
        assert scraped(metrics, bool), (tmp_path / "server.log").read_text()
        with running(*worker, log=tmp_path / "worker.log", **variables):
            found = scraped(metrics, lambda found: not missing_of("prefect", found))
    assert_exposed("prefect", found)


@pytest.fixture
def ray_metrics():
    """URL of the metrics of a cluster of this machine, to which the process is connected."""
    port, dashboard_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="lia") as home:
        ray.init(
            address="local",
            num_cpus=4,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            log_to_driver=False,
            _metrics_export_port=port,
            _node_ip_address="127.0.0.1",
            _system_config={"metrics_report_interval_ms": 1000},
            _temp_dir=home,
        )
        yield f"http://127.0.0.1:{port}/metrics"
        ray.shutdown()


def of_gpus():
    """Return the labels by metric of those that a machine without a GPU does not expose."""
    return {
        f"ray_{name}": {*GPU_TAG_KEYS}
        for name in METRICS_GAUGES
        if name.startswith(("node_gpu", "node_gram"))
    }


@pytest.mark.slow
def test_ray_exposes_what_is_read(ray_metrics, tmp_path):
    is_seen = tmp_path / "seen"

    def train():
        while not is_seen.exists():
            report({})
            time.sleep(0.5)

    trainer = DataParallelTrainer(train, scaling_config=ScalingConfig(num_workers=1))
    training = threading.Thread(target=trainer.fit)
    training.start()
    ray.get(_process_unit.remote([]))
    try:
        found = scraped(ray_metrics, lambda found: not missing_of("ray", found | of_gpus()))
    finally:
        is_seen.touch()
        training.join()
    assert_exposed("ray", found | of_gpus())
