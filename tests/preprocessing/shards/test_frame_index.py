import numpy as np
import pytest

from preprocessing.shards.frame_index import FrameIndex, read_index, write_index


@pytest.fixture
def index():
    return FrameIndex(
        tars=["00000.tar", "00001.tar"],
        clip_key=["a-whole-000-000000", "a-whole-001-000010", "b-whole-000-000000"],
        clip_tar=np.array([0, 0, 1], np.int32),
        clip_first=np.array([0, 2, 3, 5], np.int64),
        frame_offset=np.arange(5, dtype=np.int64) * 512,
        frame_size=np.full(5, 100, np.int32),
        frame_yaw_deg=np.array([0.5, -30, np.nan, 3, 4], np.float16),
    )


def test_what_is_written_is_read(tmp_path, index):
    write_index(tmp_path / "index.npz", index)
    found = read_index(tmp_path / "index.npz")
    assert (found.tars, found.clip_key) == (index.tars, index.clip_key)
    for name in ("clip_tar", "clip_first", "frame_offset", "frame_size", "frame_yaw_deg"):
        stored, given = getattr(found, name), getattr(index, name)
        assert stored.dtype == given.dtype
        np.testing.assert_array_equal(stored, given)


def test_equal_indices_give_equal_bytes(tmp_path, index):
    for name in ("first.npz", "second.npz"):
        write_index(tmp_path / name, index)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


@pytest.mark.parametrize(
    ("keys", "tars"), [({"a"}, ["00000.tar"]), ({"a", "b"}, ["00000.tar", "00001.tar"]), ({"whole"}, [])]
)
def test_the_tars_of_a_video_are_found_by_its_key(index, keys, tars):
    assert index.tars_of_sources(keys) == tars


def test_an_index_of_an_earlier_version_knows_no_yaw(tmp_path, index):
    path = tmp_path / "index.npz"
    write_index(path, index)
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "frame_yaw_deg"}
    np.savez(path, **kept)
    assert np.isnan(read_index(path).frame_yaw_deg).tolist() == [True] * 5
