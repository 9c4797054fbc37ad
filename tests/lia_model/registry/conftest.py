import mlflow
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry import aliases, models, runs
from lia_model.settings import NetworkSettings


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    """A real MLflow store, made once: its tables take seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="package")
def open_run(store):
    """Function `name -> Run` that opens a run in the store."""
    params = {"seed": 1, "network": {"width": 0.5}}
    return lambda name: runs.open_run(name, store / "artifacts", params, {"lia.commit": "abc"})


@pytest.fixture(scope="package")
def version(open_run, tmp_path_factory):
    """The version of `lia-test` that is its champion."""
    folder = tmp_path_factory.mktemp("checkpoint") / "final"
    settings = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    save_generator(folder, build_generator(settings, seed=1), {})
    run = open_run("registered")
    version = models.register("lia-test", folder, run.run_id, {"lia.commit": "abc"})
    aliases.set_alias("lia-test", aliases.CHAMPION, version)
    assert models.version_of_run("lia-test", run.run_id) == version
    return version
