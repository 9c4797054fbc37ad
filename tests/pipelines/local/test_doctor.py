import os
import socket
from pathlib import Path

import pytest

from pipelines.environment import read_environment
from pipelines.local import doctor, fetch
from pipelines.process import record_of


def test_a_missing_model_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    findings = doctor._files("models", fetch.MODELS, tmp_path)
    assert {one.state for one in findings} == {"absent"}
    assert {one.remedy for one in findings} == {"lia fetch models"}


def test_this_machine_has_what_is_required(models: Path) -> None:
    findings = doctor.examine(read_environment(Path.cwd(), {}))
    assert not doctor.is_required_missing(findings)
    whats = [one.what for one in findings]
    for what in ("python", "torch", "GPU", "ffmpeg", "scrfd/scrfd.onnx", "port 4200", "disk", "project"):
        assert what in whats
    assert [row[1] for row in doctor.finding_rows(findings)] == whats


def test_an_absent_package_is_required() -> None:
    assert doctor.is_required_missing([doctor._package("no-such-package-here")])


def test_without_dlib_the_doctor_says_what_the_evaluation_leaves_out(monkeypatch) -> None:
    assert doctor._dlib().state == "ok"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    finding = doctor._dlib()
    assert finding.state == "absent"
    assert "AKD" in finding.detail
    assert not doctor.is_required_missing([finding])


def test_a_store_is_tried(tmp_path: Path) -> None:
    assert doctor._store(f"file://{tmp_path}").state == "ok"
    assert doctor._store("nowhere://a").state == "missing"
    assert "LIA_STORE_URL nowhere://a" in doctor._store("nowhere://a").detail
    assert doctor._store(None).state == "absent"


@pytest.mark.parametrize(("address", "state"), [("127.0.0.1", "ok"), ("0.0.0.0", "absent")])
def test_a_running_service_is_listed_with_where_it_listens(tmp_path: Path, address: str, state: str) -> None:
    (tmp_path / "ray.json").write_text(record_of(os.getpid(), "here").model_dump_json())
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        (finding,) = doctor._listening(tmp_path)
    assert (finding.what, finding.state) == ("ray listens", state)
    assert str(port) in finding.detail
    assert ("reachable from other machines" in finding.detail) == (state == "absent")
