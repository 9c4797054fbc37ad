import mlflow
import numpy as np
import pytest

from lia_model.registry import runs
from lia_model.training.run_logger import RunLogger


@pytest.fixture
def run(tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield runs.open_run("logged", tmp_path / "artifacts", {}, {})
    mlflow.set_tracking_uri(before)


def test_nothing_is_logged_before_a_commit_and_each_step_once_after_it(run):
    logger = RunLogger(run)
    logger.add_metrics(1, {"loss/l1": 0.5})
    logger.add_strip(1, np.zeros((4, 8, 3), np.uint8))
    assert run.metric_names() == []
    assert run.file_names("") == []
    logger.commit()
    assert run.metric_history("loss/l1") == [(1, 0.5)]
    strips = run.file_names(runs.STRIPS)
    assert strips
    logger.add_metrics(2, {"loss/l1": 0.25})
    logger.commit()
    logged = runs.mlflow_client().get_metric_history(run.run_id, "loss/l1")
    assert [(metric.step, metric.value) for metric in logged] == [(1, 0.5), (2, 0.25)]
    assert run.file_names(runs.STRIPS) == strips


def test_what_a_killed_run_did_not_commit_is_logged_by_the_run_that_repeats_it(run):
    killed, resumed = RunLogger(run), RunLogger(run)
    killed.add_metrics(1, {"loss/l1": 0.5})
    resumed.add_metrics(1, {"loss/l1": 0.5})
    resumed.commit()
    assert len(runs.mlflow_client().get_metric_history(run.run_id, "loss/l1")) == 1
