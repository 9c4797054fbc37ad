import json
import multiprocessing

import pytest

from lia_model.training.cluster.leftovers import (
    COPY_PREFIX,
    own_copy_prefix,
    remove_abandoned_copies,
    remove_leftovers,
)
from lia_model.training.cluster.run_storage import RAY_LIST, RunStorage
from lia_model.training.cluster.stored_folder import folders_in, is_finished
from preprocessing.storage.files import write_folder_atomically
from tests.lia_model.training.cluster.test_run_storage import persist


def name_of(step):
    return f"checkpoint_2026-01-01_00-00-{step:02d}.000000"


def write_list(storage, *steps):
    """Write Ray's list."""
    results = [{"checkpoint_dir_name": name_of(step), "metrics": {"step": step}} for step in steps]
    files, root = storage.open()
    with files.open_output_stream(f"{root}/run/{RAY_LIST}") as file:
        file.write(json.dumps({"checkpoint_results": results[:-1], "latest": results[-1]}).encode())


def left(storage):
    files, root = storage.open()
    names = [name for name in folders_in(files, f"{root}/run") if name.startswith("checkpoint_")]
    return [name for name in names if is_finished(files, f"{root}/run/{name}")]


@pytest.fixture
def stored(storage, tmp_path):
    """A run with four checkpoints and a milestone."""
    for step in (3, 6, 9, 12):
        persist(storage, step, tmp_path)
    persist(storage, 3, tmp_path, name="milestones/step-00000003")
    return storage


def test_checkpoints_that_ray_does_not_list_are_removed_and_milestones_stay(stored, tmp_path):
    write_list(stored, 6, 9)
    remove_leftovers(stored)
    assert left(stored) == [name_of(6), name_of(9)]
    files, root = stored.open()
    assert is_finished(files, f"{root}/run/milestones/step-00000003")


def test_without_a_list_that_names_a_checkpoint_that_is_there_all_stay(stored):
    remove_leftovers(stored)
    write_list(stored, 15)
    remove_leftovers(stored)
    assert len(left(stored)) == 4


def test_copies_of_processes_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = multiprocessing.get_context("spawn").Process()
    process.start()
    process.join()
    gone, own = tmp_path / f"{COPY_PREFIX}{process.pid}-abc", tmp_path / f"{own_copy_prefix()}abc"
    for folder in (gone, own):
        folder.mkdir()
    remove_abandoned_copies()
    assert list(tmp_path.iterdir()) == [own]


def test_folders_that_were_being_written_are_removed(tmp_path):
    storage = RunStorage(str(tmp_path), "run")
    # Writers that do not come to their end.
    writers = [
        write_folder_atomically(storage.directory / name) for name in (name_of(3), "milestones/step-3")
    ]
    for writer in writers:
        writer.__enter__()
    assert len(list(storage.directory.rglob(".*"))) == 2
    remove_leftovers(storage)
    assert not list(storage.directory.rglob(".*"))
