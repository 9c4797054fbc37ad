from pathlib import Path

import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.database import DatabaseError, sqlite_url
from lia_model.settings import NetworkSettings
from pipelines.commands.serve import (
    database_url,
    make_config,
    require_token_beyond_loopback,
    run_serve,
    service_config,
)
from pipelines.environment import read_environment
from pipelines.params import read_params
from tests.ports import free_port

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def params():
    return read_params(CHECKOUT / "params.yaml")


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "params.yaml").touch()
    return read_environment(tmp_path, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host, environment):
    require_token_beyond_loopback(host, environment)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_every_other_address_needs_a_token(host, params, environment):
    def refuses():
        with pytest.raises(ValueError, match="lia token create"):
            run_serve(params, environment, host, 8000, "models:/lia@champion")

    refuses()
    require_token_beyond_loopback(host, environment.model_copy(update={"api_token": "s3cret"}))
    file = TokenFile(environment.paths.service_tokens)
    token = file.create(Scope.READ)
    require_token_beyond_loopback(host, environment)
    file.revoke(token.record.id)
    refuses()


def save_model(folder, rule):
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    record = {"rule": rule, "scale": 1.2, "outside": "pad"}
    save_generator(folder, build_generator(settings, seed=0), {"crop": record})
    return str(folder)


def test_a_missing_detector_is_reported_before_anything_starts(params, environment, tmp_path):
    with pytest.raises(ValueError, match="lia fetch models"):
        make_config(
            params,
            environment.paths,
            None,
            save_model(tmp_path / "faces", "fomm_square"),
            "sqlite:///jobs.sqlite",
        )


@pytest.mark.parametrize("rule", ["body", "none"])
def test_a_model_trained_without_faces_is_served_without_detector(params, environment, tmp_path, rule):
    config = make_config(
        params, environment.paths, None, save_model(tmp_path / "mine", rule), "sqlite:///jobs.sqlite"
    )
    assert not config.detector.exists()


def test_results_of_batches_may_not_replace_the_projects_files(params, environment, tmp_path):
    own = params.model_copy(update={"serve": params.serve.model_copy(update={"batch_outputs": (Path(),)})})
    with pytest.raises(ValueError, match=r"serve\.batch_outputs"):
        make_config(
            own, environment.paths, None, save_model(tmp_path / "mine", "none"), "sqlite:///jobs.sqlite"
        )


def test_a_detached_service_needs_a_ray_head(params, environment):
    with pytest.raises(ValueError, match="lia up"):
        run_serve(params, environment, "127.0.0.1", 8000, "models:/lia@champion", block=False)


def test_a_database_that_does_not_answer_is_reported_before_a_service_is_replaced(
    params, environment, tmp_path
):
    url = f"postgresql://lia:s3cret@127.0.0.1:{free_port()}/jobs"
    changed = environment.model_copy(update={"database_url": url})
    with pytest.raises(DatabaseError, match="Connection refused") as raised:
        run_serve(params, changed, "127.0.0.1", free_port(), save_model(tmp_path / "mine", "none"))
    assert "LIA_DATABASE_URL" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_the_config_names_the_model_and_has_absolute_paths(params, environment, models):
    (environment.paths.root / "models").symlink_to(models)
    settings = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
    save_generator(environment.paths.root / "mine", build_generator(settings, seed=0))
    config = make_config(
        params, environment.paths, None, str(environment.paths.root / "mine"), "sqlite:///jobs.sqlite"
    )
    assert config.keep_s == 3600 * params.serve.keep_hours
    assert (config.model.name, config.model.version) == ("mine", "local")
    root = environment.paths.root
    assert all(path.is_relative_to(root) for path in (config.checkpoint, config.home, config.detector))
    assert config.folders == BatchFolders(root, (root / "data", root / "out"), (root / "out",))
    secrets = {"token": "s3cret", "registry": {"MLFLOW_TRACKING_PASSWORD": "s3cret"}}
    assert "s3cret" not in repr(config.model_copy(update=secrets))


def test_the_variables_of_a_collector_reach_the_replicas_and_are_not_shown(
    params, environment, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret")
    config = service_config(params, environment, save_model(tmp_path / "mine", "none"))
    assert config.telemetry["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=s3cret"
    assert "s3cret" not in repr(config)


def with_database(params, url):
    return params.model_copy(update={"serve": params.serve.model_copy(update={"database": url})})


def test_jobs_are_in_a_file_of_the_project_unless_a_database_is_named(params, environment, tmp_path):
    in_project = sqlite_url(tmp_path / "runs" / "serving" / "jobs.sqlite")
    assert database_url(params, environment) == in_project
    named = with_database(params, "postgresql://db/jobs")
    assert database_url(named, environment) == "postgresql://db/jobs"
    override = "postgresql://me:s3cret@db/other"
    assert database_url(named, read_environment(tmp_path, {"LIA_DATABASE_URL": override})) == override


def test_a_password_in_the_settings_is_refused_without_repeating_it(params, environment):
    with pytest.raises(ValueError, match="LIA_DATABASE_URL") as error:
        database_url(with_database(params, "postgresql://me:s3cret@db/jobs"), environment)
    assert "s3cret" not in str(error.value)


def test_a_database_of_another_kind_is_refused(params, environment):
    with pytest.raises(ValueError, match="sqlite:///FILE and postgresql://"):
        database_url(with_database(params, "mysql://db/jobs"), environment)
