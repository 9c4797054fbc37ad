import os
import shutil
import time

import pytest

from lia_model.checkpoints.directory import save_generator
from lia_model.networks.build import build_generator
from lia_model.registry.run_journal import RunJournal
from lia_model.registry.run_sender import RunOpening, RunSender
from lia_model.settings import NetworkSettings
from lia_model.training.cluster.run_storage import RunStorage
from pipelines.commands.clean import remove, survey
from pipelines.project_paths import ProjectPaths
from preprocessing.storage.lease import held_lease

TWO_DAYS_S = 2 * 86400


@pytest.fixture
def paths(tmp_path):
    paths = ProjectPaths(tmp_path)
    network = NetworkSettings(size_px=32, width=0.02, latent_dim=16, num_directions=4)
    provenance = {"run_id": "abc", "run_name": "trained"}
    save_generator(paths.checkpoints / "final", build_generator(network, seed=1), provenance)
    for name in ("train/present", "train/trained", "train/older", "released/abc", "released/def"):
        checkpoint = paths.runs / name / "checkpoint"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(bytes(1000))
        os.link(checkpoint / "weights", paths.runs / name / "milestone")
    for age_s in (0, TWO_DAYS_S):
        session = paths.ray_home / f"session_2026-{age_s}"
        session.mkdir(parents=True)
        os.utime(session, (time.time() - age_s, time.time() - age_s))
    yield paths
    # It may lie outside the project, in the system's folder for temporary files.
    shutil.rmtree(paths.ray_home.parent, ignore_errors=True)


def found_in(paths):
    return {f"{one.place.parent.name}/{one.place.name}" for one in survey(paths, "present", None)}


def test_other_runs_and_old_leftovers_are_found_and_what_is_in_use_is_not(paths):
    assert found_in(paths) == {
        "train/trained",
        "train/older",
        "released/def",
        f"ray/session_2026-{TWO_DAYS_S}",
    }
    older = next(one for one in survey(paths, "present", None) if one.place.name == "older")
    assert older.row(paths.root) == ("0.0 MB", "runs/train/older", "checkpoints of another run, 0 days old")
    assert older.size_bytes == 1000


def test_a_run_that_is_being_trained_stays(paths):
    before = survey(paths, "present", None)
    with held_lease(paths.lease("older"), "the run"):
        assert "train/older" not in found_in(paths)
        remove(before, paths)
    assert (paths.runs / "train/older").is_dir()
    assert found_in(paths) == {"train/older"}


def test_a_run_whose_values_wait_for_mlflow_stays(paths):
    RunSender(paths.journal("older")).describe(RunOpening(name="older", artifacts="", params={}, tags={}))
    RunJournal(paths.journal("older")).add_metrics(1, {"loss/l1": 0.5})
    assert "train/older" not in found_in(paths)


def test_removal_takes_what_was_found_and_nothing_else(paths):
    remove(survey(paths, "present", None), paths)
    assert found_in(paths) == set()
    for kept in ("train/present/checkpoint/weights", "released/abc/checkpoint/weights"):
        assert (paths.runs / kept).is_file()


@pytest.mark.slow
def test_old_runs_of_this_project_are_removed_from_the_store_and_those_of_others_stay(paths, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    url = f"{s3['LIA_STORE_URL']}/clean"
    runs = {name: RunStorage(url, name) for name in ("present", "older", "of-another-project")}
    for storage in runs.values():
        storage.keep(paths.runs / "train/older/milestone", "checkpoint_1/weights")
    before = survey(paths, "present", url)
    # Before the folder from which it is known.
    assert [one.row(paths.root)[:2] for one in before if one.place.name == "older"] == [
        ("0.0 MB", f"{url}/older"),
        ("0.0 MB", "runs/train/older"),
    ]
    assert before[0].size_bytes == 1000
    remove(before, paths)
    assert {name: storage.size_bytes() for name, storage in runs.items()} == {
        "present": 1000,
        "older": 0,
        "of-another-project": 1000,
    }
    assert not (paths.runs / "train/older").exists()
