"""The best generator of a run in a folder and on a real S3 server."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pyarrow.fs import FileSelector

from lia_model.checkpoints.best import BEST, Validated, read_best
from lia_model.checkpoints.directory import CONFIG, GENERATOR, load_generator, save_generator
from lia_model.checkpoints.file_hashes import HASHES
from lia_model.networks.build import build_generator
from lia_model.training.cluster.best_storage import (
    POINTER,
    fetch_best,
    forget_of_earlier_run,
    keep_in_storage,
)
from lia_model.training.cluster.run_storage import RunStorage
from lia_model.training.cluster.stored_folder import folders_in, is_finished, upload_file
from tests.lia_model.training.cluster import killed_upload
from tests.lia_model.training.cluster.test_run_storage import persist


def keep(storage, network, step, score):
    generator = build_generator(network, seed=step)
    keep_in_storage(storage, generator, {}, Validated(step, "l1", score, "a"))


def found_step(storage, folder, network):
    """Return the step of the best generator, whose weights are those of that step; None if there is none."""
    root = folder / "found" if storage.directory is None else storage.directory
    fetch_best(storage, root)
    best = read_best(root)
    if best is None:
        return None
    weights = load_generator(root / BEST).motion.free
    assert torch.equal(weights, build_generator(network, seed=best.step).motion.free)
    return best.step


def replaced(storage, name, content):
    """Replace a file of the run."""
    files, root = storage.open()
    with files.open_output_stream(f"{root}/run/{name}") as file:
        file.write(content)


def versions(storage):
    """Return the names of the folders of the best; those that the server keeps empty are none."""
    files, root = storage.open()
    place = f"{root}/run/{BEST}"
    return [name for name in folders_in(files, place) if is_finished(files, f"{place}/{name}")]


def test_the_lowest_score_is_found_and_there_is_none_before_a_validation(storage, network, tmp_path):
    assert found_step(storage, tmp_path, network) is None
    for step, score, best in ((1, 0.5, 1), (2, 0.3, 2), (3, 0.4, 2), (4, 0.2, 4)):
        keep(storage, network, step, score)
        assert found_step(storage, tmp_path, network) == best


def test_the_best_of_a_run_without_checkpoints_is_forgotten(storage, network, tmp_path):
    keep(storage, network, 1, 0.5)
    persist(storage, 3, tmp_path)
    forget_of_earlier_run(storage)
    assert found_step(storage, tmp_path, network) == 1
    files, root = storage.open()
    (checkpoint,) = (name for name in folders_in(files, f"{root}/run") if name.startswith("checkpoint_"))
    files.delete_dir(f"{root}/run/{checkpoint}")
    forget_of_earlier_run(storage)
    assert found_step(storage, tmp_path, network) is None
    forget_of_earlier_run(storage)


def test_a_damaged_best_in_a_folder_is_replaced_whatever_its_score(network, tmp_path, caplog):
    folder = RunStorage(str(tmp_path), "run")
    keep(folder, network, 1, 0.1)
    replaced(folder, f"{BEST}/{GENERATOR}", b"half")
    keep(folder, network, 2, 0.9)
    assert found_step(folder, tmp_path, network) == 2
    assert f"{GENERATOR} is not the file that training wrote" in caplog.text


@pytest.mark.slow
def test_a_store_has_the_best_the_one_before_it_and_a_pointer(s3_storage, network):
    for step in (1, 2, 3):
        keep(s3_storage, network, step, 1 / step)
    assert versions(s3_storage) == ["000002-step-00000002", "000003-step-00000003"]
    files, root = s3_storage.open()
    listed = files.get_file_info(FileSelector(f"{root}/run/{BEST}", recursive=True))
    names = sorted(info.path.partition(f"{BEST}/")[2] for info in listed if info.is_file)
    assert names == sorted(
        [POINTER]
        + [f"{version}/{name}" for version in versions(s3_storage) for name in (CONFIG, GENERATOR, HASHES)]
    )


@pytest.mark.slow
def test_a_damaged_best_in_a_store_leaves_the_one_before_it(s3_storage, network, tmp_path, caplog):
    for step in (1, 2):
        keep(s3_storage, network, step, 1 / step)
    replaced(s3_storage, f"{BEST}/000002-step-00000002/{GENERATOR}", b"half")
    with caplog.at_level(logging.WARNING):
        assert found_step(s3_storage, tmp_path, network) == 1
    (line,) = caplog.messages
    assert "run/best/000002-step-00000002/generator.safetensors is missing or not the file" in line
    assert line.endswith("000001-step-00000001 is taken")
    # Its score does not count any more.
    keep(s3_storage, network, 3, 0.9)
    assert found_step(s3_storage, tmp_path, network) == 3


@pytest.mark.slow
def test_a_damaged_pointer_costs_nothing_and_damage_of_all_is_named(s3_storage, network, tmp_path):
    for step in (1, 2):
        keep(s3_storage, network, step, 1 / step)
    for content in (b"", b"{}", b'{"checkpoint": "000009-step-00000009"}'):
        replaced(s3_storage, f"{BEST}/{POINTER}", content)
        assert found_step(s3_storage, tmp_path, network) == 2
    for name in versions(s3_storage):
        replaced(s3_storage, f"{BEST}/{name}/{GENERATOR}", b"half")
    with pytest.raises(
        ValueError, match=r"damaged .* no other: remove s3://lia/.*/run/best to release the last"
    ):
        fetch_best(s3_storage, tmp_path / "found")
    assert read_best(tmp_path / "found") is None
    # A run in progress goes on, and its next best takes their place.
    keep(s3_storage, network, 3, 0.9)
    assert found_step(s3_storage, tmp_path, network) == 3


@pytest.mark.slow
def test_what_earlier_versions_stored_is_taken_with_a_warning_until_there_is_a_better_one(
    s3_storage, network, tmp_path, caplog
):
    record = {"validation": {"step": 1, "metric": "l1", "score": 0.5, "list_sha256": "a"}}
    save_generator(tmp_path / "former", build_generator(network, seed=1), record)
    files, root = s3_storage.open()
    for name in (CONFIG, GENERATOR):
        upload_file(files, tmp_path / "former" / name, f"{root}/run/{BEST}/{name}")
    assert found_step(s3_storage, tmp_path, network) == 1
    assert "stored without hashes by an earlier version" in caplog.text
    keep(s3_storage, network, 2, 0.6)
    assert found_step(s3_storage, tmp_path, network) == 1
    keep(s3_storage, network, 3, 0.4)
    assert found_step(s3_storage, tmp_path, network) == 3
    listed = files.get_file_info(FileSelector(f"{root}/run/{BEST}"))
    assert {info.base_name for info in listed if info.is_file} == {POINTER}


@pytest.mark.slow
def test_a_process_killed_before_any_write_leaves_a_whole_best(s3_storage, network, s3, tmp_path):
    settings = tmp_path / "network.json"
    settings.write_text(network.model_dump_json())
    command = [sys.executable, "-W", "ignore", killed_upload.__file__, s3_storage.place, str(settings)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path.cwd(), env=os.environ | s3
    )
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    steps = [after for after, _, _ in found]
    # The old one up to the replacement of the pointer, the new one from then on.
    assert steps == sorted(steps)
    assert set(steps) == {2, 3}
    assert len(steps) > 5
    assert {last for _, last, _ in found} == {4}
    # The pointer lies in `best` itself; nothing is left of folders that were cut short.
    assert all(len(left) == 3 and "best" in left for _, _, left in found)
