"""A run's checkpoints in a folder and on a real S3 server."""

import json
import logging

import pytest
from pyarrow.fs import FileSelector, copy_files
from ray.train import Checkpoint

from lia_model.checkpoints.file_hashes import HASHES, write_hashes
from lia_model.checkpoints.versions import TRAINING_JSON
from lia_model.training.cluster.run_storage import RAY_LIST, RunStorage
from lia_model.training.cluster.stored_folder import is_file
from preprocessing.storage.object_store import StoreError


def persist(storage, step, folder, *, is_whole=True, name=None):
    """Store a checkpoint as Ray does."""
    name = name or f"checkpoint_2026-01-01_00-00-{step:02d}.000000"
    made = folder / f"made-{step}-{name.replace('/', '-')}"
    made.mkdir()
    (made / TRAINING_JSON).write_text(json.dumps({"step": step}))
    (made / "weights").write_bytes(bytes(1000) + bytes([step]))
    write_hashes(made)
    if not is_whole:
        (made / "weights").write_bytes(bytes(999))
    files, root = storage.open()
    path = f"{root}/run/{name}"
    files.create_dir(path)
    copy_files(str(made), path, destination_filesystem=files)
    return Checkpoint(path, files)


def step_of(folder):
    return json.loads((folder / TRAINING_JSON).read_text())["step"]


def test_nothing_is_resumed_where_nothing_was_stored(storage):
    with storage.whole(None) as found:
        assert found is None


def test_a_run_resumes_from_the_latest_checkpoint(storage, tmp_path):
    persist(storage, 3, tmp_path)
    latest = persist(storage, 6, tmp_path)
    with storage.whole(latest) as found:
        assert step_of(found) == 6
        assert (found / "weights").read_bytes()[-1] == 6


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(storage, tmp_path, caplog):
    persist(storage, 3, tmp_path)
    persist(storage, 6, tmp_path)
    persist(storage, 7, tmp_path, is_whole=False)
    latest = persist(storage, 9, tmp_path, is_whole=False)
    with caplog.at_level(logging.WARNING), storage.whole(latest) as found:
        assert step_of(found) == 6
    assert "is not the file that training wrote" in caplog.text


def test_without_a_whole_checkpoint_the_damage_is_named(storage, tmp_path):
    latest = persist(storage, 9, tmp_path, is_whole=False)
    with pytest.raises(ValueError, match="is not the file that training wrote"), storage.whole(latest):
        pass


def test_a_run_whose_list_was_lost_resumes_from_the_newest_whole_checkpoint(storage, tmp_path):
    persist(storage, 6, tmp_path)
    persist(storage, 3, tmp_path)
    persist(storage, 9, tmp_path, is_whole=False)
    persist(storage, 3, tmp_path, name="milestones/step-00000003")
    persist(storage, 3, tmp_path, name="best")
    with storage.whole(None) as found:
        assert step_of(found) == 6


def test_milestones_are_resumed_from_if_no_checkpoint_is_whole(storage, tmp_path):
    assert not storage.has_checkpoints()
    persist(storage, 3, tmp_path, name="milestones/step-00000003")
    persist(storage, 6, tmp_path, name="milestones/step-00000006")
    latest = persist(storage, 9, tmp_path, is_whole=False)
    assert storage.has_checkpoints()
    with storage.whole(latest) as found:
        assert step_of(found) == 6


def test_half_a_checkpoint_is_nothing_to_go_on_from(storage, tmp_path):
    checkpoint = persist(storage, 3, tmp_path)
    storage.open()[0].delete_file(f"{checkpoint.path}/{HASHES}")
    assert not storage.has_checkpoints()
    with storage.whole(None) as found:
        assert found is None


def test_a_file_of_the_run_is_kept_under_its_name(storage, tmp_path):
    (tmp_path / "trace").write_bytes(b"1")
    for _ in range(2):
        place = storage.keep(tmp_path / "trace", "profile/trace")
    assert place == f"{storage.place}/run/profile/trace"
    files, root = storage.open()
    with files.open_input_stream(f"{root}/run/profile/trace") as file:
        assert file.read() == b"1"


def test_the_result_is_a_folder_of_this_machine(storage, tmp_path):
    place = tmp_path / "result"
    for step in (3, 6):
        found = storage.fetch(persist(storage, step, tmp_path), place)
        assert step_of(found) == step
        assert (found == place) == (storage.directory is None)


def test_a_damaged_list_is_removed_and_a_good_one_is_kept(storage):
    storage.discard_damaged_list()
    files, root = storage.open()
    files.create_dir(f"{root}/run")
    for content, is_kept in ((b"{}", True), (b"{", False)):
        with files.open_output_stream(f"{root}/run/{RAY_LIST}") as file:
            file.write(content)
        storage.discard_damaged_list()
        assert is_file(files, f"{root}/run/{RAY_LIST}") == is_kept


def test_an_address_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = RunStorage(f"file://{tmp_path}/storage", "run")
    persist(storage, 3, tmp_path)
    files, root = storage.open()
    assert root == f"{tmp_path}/storage"
    assert files.get_file_info(FileSelector(f"{root}/run"))
    assert not (tmp_path / "file:").exists()
    with pytest.raises(StoreError, match="LIA_TRAIN_STORAGE_URL nowhere://a"):
        RunStorage("nowhere://a", "run").open()
