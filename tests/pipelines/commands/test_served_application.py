import os
import shutil

import httpx
import pytest
import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.settings import NetworkSettings
from pipelines.commands.served_application import Arguments, application
from tests.conftest import CHECKOUT
from tests.ports import free_port


@pytest.fixture(autouse=True)
def variables_kept():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_public_address_needs_a_token(tmp_path, monkeypatch):
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    monkeypatch.delenv("LIA_API_TOKEN", raising=False)
    monkeypatch.setenv("LIA_RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ValueError, match="lia token create"):
        application(Arguments(project=tmp_path, host="0.0.0.0", port=8000, model="models:/lia@champion"))


@pytest.mark.slow
def test_serve_builds_and_runs_it_from_its_configuration(tmp_path, monkeypatch):
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    (tmp_path / "models").symlink_to(CHECKOUT / "models")
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(tmp_path / "checkpoint", build_generator(settings, seed=0))
    # A cluster of others, whose variables of Ray stay as they are.
    monkeypatch.setenv("LIA_RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    port = free_port()
    arguments = {
        "project": str(tmp_path),
        "host": "127.0.0.1",
        "port": str(port),
        "model": str(tmp_path / "checkpoint"),
    }
    path = f"{application.__module__}:{application.__name__}"
    config = {
        "proxy_location": "Disabled",
        "applications": [{"name": "lia", "import_path": path, "args": arguments, "route_prefix": None}],
    }
    try:
        serve.start(proxy_location="Disabled")
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config), _blocking=True)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get("/v1/models").json()["models"][0]["name"] == "checkpoint"
    finally:
        serve.shutdown()
        ray.shutdown()
