import os
from pathlib import Path

import pytest

from pipelines.command_line.startup import activate_environment, enter_project


def test_activation_sets_the_tools_variables_and_stays_in_the_folder(root, monkeypatch):
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    environment = activate_environment()
    assert environment.paths.root == root
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{root}/mlflow.db?timeout=30"
    assert Path.cwd() == root / "below"


def test_a_command_that_needs_params_works_in_the_projects_root(root, monkeypatch):
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    params, environment = enter_project()
    assert Path.cwd() == environment.paths.root == root
    assert params.release.name == "lia"
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_with_bad_params_the_folder_is_named(root):
    (root / "params.yaml").write_text("train: 1\n")
    with pytest.raises(ValueError, match=f"{root}/params.yaml: "):
        enter_project()
