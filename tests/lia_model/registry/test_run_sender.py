import logging
import time

import mlflow
import numpy as np
import pytest

from lia_model.registry import runs
from lia_model.registry.run_journal import RunJournal
from lia_model.registry.run_sender import (
    SENT,
    DataSet,
    RunOpening,
    RunSender,
    TrackingError,
    sending,
    waiting_senders,
)
from tests.ports import free_ports

PICTURE = np.zeros((4, 8, 3), np.uint8)


@pytest.fixture
def describe(store):
    """Function that notes the opening of a run in a folder and returns its sender."""

    def describe(folder, name, **changes):
        sender = RunSender(folder)
        data_set = DataSet(name="shards", digest="a" * 32, source="data/shards", profile={"frames": 3})
        content = {"params": {"seed": 1}, "tags": {"lia.commit": "abc"}, "data_set": data_set} | changes
        sender.describe(RunOpening(name=name, artifacts=str(store / "artifacts"), **content))
        return sender

    return describe


@pytest.fixture
def outage(store, monkeypatch):
    """Points MLflow at a port where nobody listens; called, ends the outage."""
    (port,) = free_ports(1)
    uri = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    yield lambda: mlflow.set_tracking_uri(uri)
    mlflow.set_tracking_uri(uri)


def history(run_id, name="loss/l1"):
    found = runs.mlflow_client().get_metric_history(run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def test_a_run_is_opened_with_all_that_describes_it_and_closed_after_its_journal(tmp_path, describe):
    journal, sender = RunJournal(tmp_path), describe(tmp_path, "whole", source_keys=["b", "a"])
    journal.add_metrics(1, {"loss/l1": 0.5})
    journal.add_picture("strip", 1, PICTURE)
    journal.add_text("data/note.txt", "seen\n")
    run_id = sender.send()
    journal.add_metrics(2, {"loss/l1": 0.25})
    sender.finish("FINISHED")
    assert not sender.is_done()
    assert sender.send() == run_id == sender.run_id
    assert sender.is_done()
    run = runs.mlflow_client().get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("whole", "FINISHED")
    assert run.data.params == {"seed": "1"}
    assert run.inputs.dataset_inputs[0].dataset.name == "shards"
    assert runs.Run(run_id).source_keys() == {"a", "b"}
    assert history(run_id) == [(1, 0.5), (2, 0.25)]
    assert sum(path.endswith(".png") for path in runs.Run(run_id).file_names(runs.STRIPS)) == 1
    assert list((tmp_path / "pictures").iterdir()) == []
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/data/note.txt") == "seen\n"


def test_what_is_sent_again_is_kept_once(tmp_path, describe):
    journal, sender = RunJournal(tmp_path), describe(tmp_path, "again")
    journal.add_metrics(1, {"loss/l1": 0.5})
    opened = sender.send()
    before = (tmp_path / SENT).read_text()
    journal.add_metrics(2, {"loss/l1": 0.25})
    journal.add_picture("strip", 2, PICTURE)
    sender.send()
    # As after a kill between the request and the note that it was made.
    (tmp_path / SENT).write_text(before)
    RunSender(tmp_path).send()
    assert history(opened) == [(1, 0.5), (2, 0.25)]
    assert sum(path.endswith(".png") for path in runs.Run(opened).file_names(runs.STRIPS)) == 1


def test_another_checkout_goes_on_in_the_same_run_without_repeating_steps(tmp_path, describe):
    first, second = tmp_path / "first", tmp_path / "second"
    journals = [RunJournal(first), RunJournal(second)]
    journals[0].add_metrics(1, {"loss/l1": 0.5})
    journals[0].add_picture("strip", 1, PICTURE)
    run_id = describe(first, "moved").send()
    for step, value in ((1, 0.5), (2, 0.25)):
        journals[1].add_metrics(step, {"loss/l1": value})
        journals[1].add_picture("strip", step, PICTURE)
    assert describe(second, "moved").send() == run_id
    assert history(run_id) == [(1, 0.5), (2, 0.25)]
    assert sum(path.endswith(".png") for path in runs.Run(run_id).file_names(runs.STRIPS)) == 2


def test_a_setting_that_changed_between_restarts_is_a_tag(tmp_path, describe):
    describe(tmp_path, "longer", params={"num_steps": 3}).send()
    run_id = describe(tmp_path, "longer", params={"num_steps": 6}).send()
    data = runs.mlflow_client().get_run(run_id).data
    assert data.params == {"num_steps": "3"}
    assert data.tags["lia.now.num_steps"] == "6"


def test_an_outage_from_start_to_end_keeps_everything_for_later(tmp_path, describe, outage):
    journal, sender = RunJournal(tmp_path), describe(tmp_path, "late")
    for step in (1, 2):
        journal.add_metrics(step, {"loss/l1": 1 / step})
    with pytest.raises(TrackingError, match="MLflow does not take the run's values: "):
        sender.send()
    assert sender.run_id is None
    sender.finish("FINISHED")
    assert sender.num_waiting() == 2
    outage()
    (waiting,) = waiting_senders([tmp_path])
    run_id = waiting.send()
    assert history(run_id) == [(1, 1), (2, 0.5)]
    assert runs.mlflow_client().get_run(run_id).info.status == "FINISHED"
    assert waiting_senders([tmp_path]) == []
    assert runs.run_of({"run_id": None, "run_name": "late"}) == run_id


def test_a_checkpoint_from_elsewhere_has_no_run_here(store):
    assert runs.run_of({"run_id": "0" * 32, "run_name": "nobody"}) is None
    assert runs.run_of({}) is None


def test_the_thread_sends_as_it_comes_and_tells_of_an_outage_once(
    tmp_path, describe, outage, monkeypatch, caplog
):
    monkeypatch.setattr("lia_model.registry.run_sender.INTERVAL_S", 0.05)
    monkeypatch.setattr("lia_model.registry.run_sender.MAX_INTERVAL_S", 0.1)
    journal, sender = RunJournal(tmp_path), describe(tmp_path, "thread")
    caplog.set_level(logging.INFO, logger="lia_model")
    with sending(lambda: [sender]):
        journal.add_metrics(1, {"loss/l1": 0.5})
        _wait_for(lambda: "training goes on" in caplog.text)
        time.sleep(0.3)
        outage()
        _wait_for(lambda: sender.num_waiting() == 0)
        journal.add_metrics(2, {"loss/l1": 0.25})
        _wait_for(lambda: sender.num_waiting() == 0)
        assert history(sender.run_id) == [(1, 0.5), (2, 0.25)]
    assert caplog.text.count("training goes on") == 1
    assert caplog.text.count("MLflow is back") == 1


def _wait_for(is_so, timeout_s=30):
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
