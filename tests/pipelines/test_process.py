import os
import subprocess
import sys
from pathlib import Path

from pipelines.local.services import stop_all
from pipelines.process import live_process, live_record, record_of


def test_a_running_process_is_found_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(record_of(os.getpid(), "here").model_dump_json())
    found = live_record(path)
    assert found is not None
    assert found.address == "here"


def test_a_recycled_pid_is_not_ours() -> None:
    record = record_of(os.getpid(), "here")
    assert live_process(record.model_copy(update={"started_s": record.started_s - 3600})) is None


def test_an_ended_process_is_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record = record_of(process.pid, "here")
        assert live_process(record) is not None
        process.communicate(b"\n")
    assert live_process(record) is None


def test_no_record_means_no_process(tmp_path: Path) -> None:
    assert live_record(tmp_path / "none.json") is None


def test_a_record_of_another_folder_is_ignored_in_one_line(tmp_path: Path, caplog) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record = record_of(process.pid, "here", tmp_path / "original")
        for name in ("original", "copy"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "one.json").write_text(record.model_dump_json())
        assert live_record(tmp_path / "original" / "one.json") == record
        assert not caplog.records
        for _ in range(2):
            assert live_record(tmp_path / "copy" / "one.json") is None
        (line,) = caplog.messages
        assert str(process.pid) in line
        assert stop_all(tmp_path / "copy") == []
        assert live_process(record) is not None
        process.communicate(b"\n")
