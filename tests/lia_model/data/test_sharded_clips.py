import pytest

from lia_model.data.sharded_clips import ShardedClips
from tests.lia_model.shards_on_disk import write_coloured_clips


@pytest.fixture
def shards(tmp_path):
    write_coloured_clips(tmp_path)
    return tmp_path


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
