"""Passwords of the user's reach the processes of Ray that need them, and Ray shows them to nobody."""

import csv
from secrets import token_hex

import numpy as np
import pytest
from PIL import Image
from sqlalchemy.engine import make_url

from pipelines.project_paths import ProjectPaths
from tests.conftest import CHECKOUT
from tests.drills.served_project import register_tiny_models, serving
from tests.mlflow_server import mlflow_server
from tests.postgresql import postgres_server
from tests.ray_state import files_with, shown_by_ray


def test_no_other_module_than_that_of_the_cluster_sets_a_runtime_environment():
    """There it holds the correlation id alone; what another one set would be shown by Ray."""
    files = [
        path
        for room in ("lia_model", "pipelines", "preprocessing")
        for path in (CHECKOUT / room).rglob("*.py")
    ]
    names = [str(path.relative_to(CHECKOUT)) for path in files if "runtime_env" in path.read_text()]
    assert names == ["pipelines/local/cluster.py"]
    assert (CHECKOUT / names[0]).read_text().count("env_vars") == 1


@pytest.mark.slow
def test_ray_shows_no_password_of_a_service_and_of_a_batch(new_project, tmp_path):
    project = new_project("secrets")
    secrets = [token_hex() for _ in range(3)]
    database, token, headers = secrets
    with mlflow_server(tmp_path) as mlflow, postgres_server() as postgres:
        project.variables.update(
            LIA_MLFLOW_TRACKING_URI=mlflow.uri,
            LIA_DATABASE_URL=make_url(postgres.create()).set(password=database).render_as_string(False),
            LIA_API_TOKEN=token,
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization={headers}",
        )
        secrets.append(mlflow.password)
        register_tiny_models(project, 1)
        Image.fromarray(np.full((64, 64, 3), 90, dtype=np.uint8)).save(project.root / "wall.png")
        with serving(project, "models:/lia@champion") as (client, _):
            client.headers["Authorization"] = f"Bearer {token}"
            # MLflow answers the service's processes and, below, those of the batch.
            assert client.put("/v1/directions/1", json={"name": "nod"}).status_code == 200
            (project.root / "rows.csv").write_text(
                "source,driving,crop,directions\nwall.png,wall.png,false,nod\n"
            )
            done = project.run(
                "lia", "batch", "rows.csv", "-o", "out/rows", "--model", "models:/lia@champion"
            )
            shown = shown_by_ray(project)
            told = (project.root / "serve.log").read_text() + done.stdout + done.stderr
        with (project.root / "out/rows/results.csv").open() as file:
            assert [row["status"] for row in csv.DictReader(file)] == ["succeeded"]
    assert "AnimationReplica" in shown["actors"]
    assert "_RowActor" in shown["actors"]
    assert "AnimationApi" in shown["api/serve/applications/"]
    for name, text in {**shown, "told": told}.items():
        assert not [secret for secret in secrets if secret in text], name
    logs = ProjectPaths(project.root).ray_home
    assert list(logs.rglob("runtime_env*.log"))
    assert not files_with(secrets, logs, project.root / "runs")
