import logging
import time

from lia_model.registry.run_journal import RunJournal
from pipelines.stages import train_progress


def test_steps_and_warnings_of_the_workers_are_told(tmp_path, monkeypatch, caplog):
    # Prefect's logger is there inside a flow alone.
    monkeypatch.setattr(train_progress, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr(train_progress, "INTERVAL_S", 0.01)
    journal = RunJournal(tmp_path)
    journal.add_warning("of an earlier process")
    with caplog.at_level(logging.INFO), train_progress.logged_progress(tmp_path, 60):
        # The journal's present end is where it begins.
        time.sleep(0.2)
        journal.add_metrics(5, {"loss/l1": 0.5})
        journal.add_warning("the store is down")
        deadline_s = time.monotonic() + 10
        while len(caplog.records) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.01)
    told = {record.getMessage().partition(", ")[0]: record.levelname for record in caplog.records}
    assert told == {"step 5/60": "INFO", "the store is down": "WARNING"}
