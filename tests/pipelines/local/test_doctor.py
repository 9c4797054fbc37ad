from pathlib import Path

from pipelines.environment import read_environment
from pipelines.local import doctor, fetch


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
