import numpy as np
import pytest

from preprocessing.shards.frame_index import frames_name, make_frames, map_frames, write_frames


@pytest.fixture
def frames():
    return make_frames([512, 1536, 2**40], [100, 200, 300], [0.5, np.nan, -30])


def test_what_is_written_is_read(tmp_path, frames):
    write_frames(tmp_path / "00000.npy", frames)
    found = map_frames(tmp_path / "00000.npy")
    assert found["offset"].tolist() == [512, 1536, 2**40]
    assert found["size"].tolist() == [100, 200, 300]
    np.testing.assert_array_equal(found["yaw_deg"], np.array([0.5, np.nan, -30], np.float16))


def test_a_frame_takes_fourteen_bytes_and_equal_ones_give_equal_files(tmp_path, frames):
    for name in ("first.npy", "second.npy"):
        write_frames(tmp_path / name, frames)
    assert (tmp_path / "first.npy").read_bytes() == (tmp_path / "second.npy").read_bytes()
    assert frames.nbytes == 3 * 14


def test_it_lies_beside_its_tar():
    assert frames_name("00012.tar") == "00012.npy"


@pytest.mark.parametrize("damage", [b"", b"no array", "other array"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "00000.npy"
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match=r"^got \S+/00000\.npy, which .*: copy the shards again$"):
        map_frames(path)
