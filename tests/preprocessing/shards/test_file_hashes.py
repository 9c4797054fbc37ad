import numpy as np
import pytest

from preprocessing.shards import file_hashes
from preprocessing.shards.file_hashes import verified_file, verify_shards
from tests.lia_model.shards_on_disk import damage_frame, write_shards


@pytest.fixture
def shards(tmp_path):
    clip = np.zeros((3, 32, 32, 3), np.uint8)
    write_shards(tmp_path / "shards", {"train": [clip] * 4, "test": [clip]}, 32)
    return tmp_path / "shards"


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that were hashed."""
    names = []
    compute = file_hashes.file_sha256
    monkeypatch.setattr(file_hashes, "file_sha256", lambda path: names.append(path.name) or compute(path))
    return names


TRAIN = ["00000.npy", "00000.tar", "00001.npy", "00001.tar", "index.npz"]


def test_each_file_of_the_split_is_hashed_once(shards, hashed):
    for _ in range(2):
        verify_shards(shards, "train")
    assert sorted(hashed) == TRAIN


def test_a_tar_that_was_written_anew_is_hashed_again(shards, hashed):
    verify_shards(shards, "train")
    (shards / "train/00001.tar").write_bytes((shards / "train/00001.tar").read_bytes())
    hashed.clear()
    verify_shards(shards, "train")
    assert hashed == ["00001.tar"]


def test_the_folder_of_shards_stays_as_it_was(shards):
    before = sorted(shards.rglob("*"))
    verify_shards(shards, "train")
    assert sorted(shards.rglob("*")) == before
    assert verified_file(shards).is_file()


@pytest.mark.parametrize("name", ["00001.npy", "index.npz"])
def test_a_changed_index_is_named(shards, name):
    (shards / "train" / name).write_bytes(b"changed")
    with pytest.raises(ValueError, match=rf"train/{name} has the sha256 \w+…, the manifest lists"):
        verify_shards(shards, "train")


@pytest.mark.parametrize("is_known", [False, True])
def test_a_tar_that_was_changed_is_named(shards, is_known):
    if is_known:
        verify_shards(shards, "train")
    damage_frame(shards, 2, 0, is_listed=False)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"train/00001\.tar has the sha256 \w+…, the manifest lists"):
            verify_shards(shards, "train")
    verify_shards(shards, "test")


def test_a_missing_tar_is_named_and_a_damaged_cache_costs_nothing(shards):
    verified_file(shards).write_text("{")
    verify_shards(shards, "train")
    (shards / "train/00001.tar").unlink()
    with pytest.raises(ValueError, match=r"train/00001\.tar is missing, which the manifest lists"):
        verify_shards(shards, "train")


def test_shards_in_a_folder_that_takes_no_files_are_hashed_every_time(shards, hashed):
    # Folders in the places of the files, which stop every user, root too.
    verified_file(shards).mkdir()
    verified_file(shards).with_suffix(".lock").mkdir()
    for _ in range(2):
        verify_shards(shards, "train")
    assert sorted(hashed) == sorted(2 * TRAIN)
