import numpy as np
import pytest
import torch

from lia_model.data.pixels import to_bytes, to_float
from lia_model.data.sharded_clips import ShardedClips
from tests.lia_model.shards_on_disk import write_shards


@pytest.fixture
def shards(tmp_path):
    # Every frame of a clip has a colour of its own, so that a decoded frame tells its clip and number.
    clips = [
        np.stack([np.full((32, 32, 3), 10 * clip + frame, np.uint8) for frame in range(4 + clip)])
        for clip in range(5)
    ]
    write_shards(tmp_path, {"train": clips}, 32)
    return tmp_path


def test_bytes_survive_the_way_to_floats_and_back():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    floats = to_float(images)
    assert floats.min() == -1
    assert floats.max() == 1
    np.testing.assert_array_equal(to_bytes(floats), images)


def test_values_outside_the_range_are_clamped_not_wrapped():
    assert to_bytes(torch.full((1, 3, 2, 2), 1.5)).tolist() == [[[[255] * 3] * 2] * 2]


def test_any_frame_is_read_by_its_offset(shards):
    clips = ShardedClips(shards, "train")
    assert [clip.num_frames for clip in clips.clips] == [4, 5, 6, 7, 8]
    for clip, frame in [(0, 0), (4, 7), (2, 3), (3, 0)]:
        assert abs(int(clips.frame(clip, frame).mean()) - (10 * clip + frame)) <= 1
    assert clips.frames(1, 2, 4).shape == (2, 32, 32, 3)


def test_a_missing_split_says_what_to_do(shards):
    with pytest.raises(ValueError, match="holds no test clips: add a source of that split"):
        ShardedClips(shards, "test")


def test_a_folder_without_shards_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="make the shards first with `lia shards`"):
        ShardedClips(tmp_path, "train")
