import mlflow
import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.registry import models
from lia_model.registry.models import resolve
from lia_model.registry.runs import open_run
from pipelines.forgotten_sources import describe_forgotten, warn_of_forgotten
from tests.pipelines.released_models import painting
from tests.ports import free_port

VIDEO = "a" * 40


@pytest.fixture
def store(tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture
def tombstones(tmp_path):
    path = tmp_path / "tombstones.csv"
    path.write_text(f"key,date\n{VIDEO},2026-11-26\n")
    return path


@pytest.fixture
def warnings(caplog):
    """Function that returns our own log messages since its last call."""

    def take():
        found = [record.message for record in caplog.records if record.name.startswith("pipelines")]
        caplog.clear()
        return found

    return take


@pytest.fixture
def checkpoint(tmp_path):
    def save(run_id):
        save_generator(tmp_path / "final", painting(3), {"run_id": run_id})
        return tmp_path / "final"

    return save


@pytest.mark.slow
def test_loading_a_model_trained_on_a_video_that_was_taken_down_is_warned_of(
    store, tombstones, checkpoint, tmp_path, warnings
):
    run = open_run("trained", tmp_path / "artifacts", {}, {})
    directory = checkpoint(run.run_id)
    run.log_source_keys(["b" * 40])
    warn_of_forgotten(resolve(directory), tombstones)
    assert warnings() == []

    run.log_source_keys([VIDEO, "b" * 40])
    models.register("lia", directory, run.run_id, {})
    for uri in (directory, "models:/lia/1"):
        warn_of_forgotten(resolve(uri), tombstones)
        (message,) = warnings()
        assert message.startswith(
            f"{resolve(uri).uri} was trained on video {VIDEO}, which was taken down: train"
        )
    tombstones.write_text("key,date\n")
    warn_of_forgotten(resolve("models:/lia/1"), tombstones)
    assert warnings() == []


def test_a_registry_that_cannot_be_asked_is_said_in_one_warning(
    tombstones, checkpoint, monkeypatch, warnings
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{free_port()}")
    try:
        warn_of_forgotten(resolve(checkpoint("f" * 32)), tombstones)
    finally:
        mlflow.set_tracking_uri(before)
    (message,) = warnings()
    assert "videos taken down is unknown" in message
    assert "\n" not in message


def test_several_videos_are_counted():
    assert describe_forgotten(["a", "b"]) == "trained on 2 videos that were taken down"
