import json

import pytest

from lia_model.evaluation.champion import gate
from pipelines.stages.release import Release

REPORT = {"summary": [], "set_distances": [], "skipped": []}


@pytest.mark.parametrize("stage", ["download", "shards", "train"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_stage_gets_params_and_project_and_gives_the_exit_code(lia, root, record, stage, code):
    calls = record(f"pipelines.stages.{stage}.run_{stage}", code)
    assert lia(stage).code == code
    (call,) = calls
    assert call["params"].train.seed == 0
    assert call["environment"].paths.root == root


def test_a_training_is_profiled_where_that_is_asked_for(lia, record):
    calls = record("pipelines.stages.train.run_train", 0)
    assert lia("train").code == lia("train", "--profile").code == 0
    assert [call["with_profile"] for call in calls] == [False, True]


def test_paths_of_the_evaluation_are_relative_to_the_callers_folder(lia, root, record, monkeypatch):
    below = root / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    calls = record("pipelines.stages.evaluate.run_evaluate", REPORT)
    baselines = ("--baseline", "before", "--baseline", "models:/lia@champion")
    done = lia("evaluate", "--list", "pairs.json", *baselines)
    assert done.code == 0
    (call,) = calls
    assert call["pair_list"] == below / "pairs.json"
    named = {"before": str(below / "before"), "models:/lia@champion": "models:/lia@champion"}
    assert call["baselines"] == named
    assert call["paths"].root == root
    assert done.out.splitlines()[-1] == str(root / "metrics/evaluation.html")


def test_the_evaluation_is_printed_as_json_on_request(lia, record):
    calls = record("pipelines.stages.evaluate.run_evaluate", REPORT)
    assert json.loads(lia("evaluate", "--json").out) == REPORT
    assert (calls[0]["pair_list"], calls[0]["baselines"]) == (None, {})


def test_a_release_is_of_the_run_and_under_the_name_that_were_given(lia, root, record):
    verdict = gate.refusal("it is worse")
    calls = record("pipelines.stages.release.run_release", Release("lia", "4", False, verdict))
    done = lia("release")
    assert done.code == 0
    assert done.out.startswith("lia version 4: not promoted: it is worse\n")
    printed = json.loads(lia("release", "--run", "abc", "--name", "mine", "--json").out)
    assert (printed["version"], printed["verdict"]["reason"]) == ("4", "not promoted: it is worse")
    assert [(call["run_id"], call["name"]) for call in calls] == [(None, None), ("abc", "mine")]
    assert calls[0]["paths"].root == root


def test_a_release_without_a_model_is_refused_in_one_line(lia, root):
    final = root / "checkpoints/final"
    assert lia("release").error == f"{final} does not exist: train a model first with `dvc repro train`"


def test_a_rollback_is_of_the_registered_name_unless_another_is_given(lia, record):
    calls = record("pipelines.stages.release.run_rollback", 0)
    assert lia("rollback").code == 0
    assert lia("rollback", "--name", "mine", "--reason", "eyes drift").code == 0
    assert [(call["name"], call["reason"]) for call in calls] == [
        ("lia", "no reason given"),
        ("mine", "eyes drift"),
    ]
