import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.serving.database import open_database, sqlite_url
from lia_model.settings import NetworkSettings
from tests.lia_model.serving.service import Service
from tests.postgresql import postgres_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    """URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "jobs.sqlite")
    return request.getfixturevalue("postgres").create()


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def service(tmp_path) -> Service:
    return Service(tmp_path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A store with three versions."""
    # Not for the many tests that need none: it takes seconds.
    import mlflow

    from lia_model.registry import models, runs

    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    for seed in range(3):
        checkpoint = folder / str(seed) / "final"
        save_generator(checkpoint, build_generator(settings, seed), {})
        run = runs.open_run(f"run {seed}", folder / "artifacts", {}, {})
        models.register("lia", checkpoint, run.run_id, {})
    yield folder
    mlflow.set_tracking_uri(before)
