import io
import json
import shlex
import sys

import pytest

from pipelines import presets
from pipelines.local.doctor import Finding
from pipelines.local.service_definitions import Service, ServiceName


def test_a_preset_over_own_values_asks_first(lia, root, monkeypatch):
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert lia("preset", "vox256").code == 1
    assert "seed: 1" in path.read_text()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert lia("preset", "vox256").code == 0
    assert path.read_text() == presets.read_preset("vox256")
    # Nothing of one's own is lost, or --yes says so: it does not ask.
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert lia("preset", "demo").code == 0
    assert path.read_text() == presets.read_preset("demo")
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    assert lia("preset", "demo", "--yes").code == 0
    assert path.read_text() == presets.read_preset("demo")


def test_an_unknown_preset_is_refused_in_one_line(lia, root):
    before = (root / "params.yaml").read_text()
    assert "vox256" in lia("preset", "vox").error
    assert (root / "params.yaml").read_text() == before


def test_cleaning_a_store_without_one_says_what_to_set(lia):
    refused = lia("clean", "--store")
    assert (refused.code, "set LIA_STORE_URL" in refused.error) == (2, True)


def test_the_printed_environment_can_be_evaluated_by_a_shell(lia, root):
    lines = lia("env").out.splitlines()
    exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert exported["PREFECT_HOME"] == str(root / "runs/prefect")
    assert exported["DVC_NO_ANALYTICS"] == "1"


def test_a_bad_variable_is_refused_in_one_line(lia, monkeypatch):
    monkeypatch.setenv("LIA_RAY_PORT", "many")
    assert lia("env").error.startswith("LIA_RAY_PORT is 'many': ")


@pytest.mark.parametrize(
    ("what", "expected"), [(["samples"], [1, 0]), (["models"], [0, 1]), (["models", "samples"], [1, 1])]
)
def test_only_what_was_asked_for_is_fetched(lia, root, record, what, expected):
    samples, models = (
        record("pipelines.local.fetch.fetch_samples"),
        record("pipelines.local.fetch.fetch_models"),
    )
    assert lia("fetch", *what).code == 0
    assert [len(samples), len(models)] == expected
    assert all(call["folder"] == root / "data/samples" for call in samples)
    assert all(call["folder"] == root / "models" for call in models)


def test_what_cannot_be_fetched_is_wrong_use(lia):
    assert lia("fetch", "everything").code == 2
    assert lia("fetch").code == 2


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("absent", 0), ("missing", 1)])
def test_the_doctor_exits_1_if_something_required_is_missing(lia, record, state, code):
    record("pipelines.local.doctor.examine", [Finding("disk", state, "none", "make room")])
    done = lia("doctor")
    assert (done.code, done.out.split()) == (code, [state, "disk", "none", "->", "make", "room"])
    document = {"what": "disk", "state": state, "detail": "none", "remedy": "make room"}
    assert json.loads(lia("doctor", "--json").out) == [document]


def test_up_starts_the_named_services_or_all(lia, record):
    service = Service(
        ServiceName.RAY, "Ray head", {}, address="here:1", url="http://here", health="", command=()
    )
    calls = record("pipelines.local.services.start", [service])
    assert lia("up").out == "Ray head  http://here\n"
    document = json.loads(lia("up", "ray", "mlflow", "--json").out)
    assert document == {"ray": {"url": "http://here", "address": "here:1"}}
    assert [list(call["names"]) for call in calls] == [["prefect", "mlflow", "ray"], ["ray", "mlflow"]]
    assert lia("up", "everything").code == 2


def test_stop_names_what_it_stopped(lia, root, record):
    assert (lia("stop").code, lia("stop").out) == (0, "")
    calls = record("pipelines.local.services.stop_all", ["ray", "mlflow"])
    assert lia("stop").out == "stopped ray\nstopped mlflow\n"
    assert calls[0]["folder"] == root / "runs/services"


def test_the_demo_keeps_its_services_unless_told_otherwise(lia, root, record):
    calls = record("pipelines.demo.walkthrough.run_demo")
    lia("demo")
    lia("demo", "--no-keep")
    assert [call["keep"] for call in calls] == [True, False]
    assert calls[0]["environment"].paths.root == root
