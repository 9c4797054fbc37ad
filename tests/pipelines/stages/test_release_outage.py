"""MLflow is killed at a request of `lia release`: one line says so, and a rerun completes the release."""

import mlflow
import pytest
from mlflow import MlflowException

from lia_model.registry import aliases, runs
from lia_model.registry.models import resolve
from lia_model.registry.outages import explain_outage
from lia_model.registry.tracking_variables import URI, tracking_variables
from pipelines.stages import release
from pipelines.stages.release import run_release
from tests.mlflow_server import mlflow_server
from tests.pipelines.released_models import FLAT, make_project, release_params, train
from tests.tapped_server import tapped

pytestmark = pytest.mark.slow

REQUESTS = {
    "file": b"PUT /api/2.0/mlflow-artifacts/artifacts/",
    "version": b"POST /api/2.0/mlflow/model-versions/create",
    "challenger": b'"alias": "challenger"',
    "verdict": b"lia.gate_reason",
}
"""What the client sends for the first file, the version and so on, in the order of a release."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def use(server, monkeypatch):
    """Function that makes this process reach the server at an address."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    def use(address):
        variables = tracking_variables(
            server.uri.replace(server.address.split("//")[1], address.split("//")[1])
        )
        mlflow.set_tracking_uri(variables.pop(URI))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield use
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("last", REQUESTS)
def test_the_rerun_completes_the_release(server, use, models, tmp_path, monkeypatch, last):
    # A flow starts a server of its own; the end-to-end tests run it.
    monkeypatch.setattr(release, "release_flow", release.release_checkpoint)
    paths = make_project(tmp_path)
    name = f"cut-at-{last}"
    params = release_params(name, models, tmp_path)
    use(server.address)
    run_id = train(paths, name, FLAT)
    with tapped(int(server.address.rpartition(":")[2]), REQUESTS[last], server.kill) as relay:
        use(relay)
        with pytest.raises(MlflowException) as failed:
            run_release(params, paths, run_id)
        told = explain_outage(failed.value)
    assert told.startswith(f"MLflow at {relay} fails (")
    assert "\n" not in told
    assert server.password not in told
    server.start()
    use(server.address)
    released = run_release(params, paths, run_id)
    assert released.is_champion
    (version,) = runs.mlflow_client().search_model_versions(f"name = '{name}'")
    assert {aliases.version_of(name, alias) for alias in ("challenger", "champion")} == {version.version}
    assert version.tags["lia.gate_reason"]
    assert "is champion already" in run_release(params, paths, run_id).text
    assert resolve(f"models:/{name}@champion").directory.is_dir()
