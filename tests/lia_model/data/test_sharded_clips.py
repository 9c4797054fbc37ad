import numpy as np
import pytest

from lia_model.data.sharded_clips import ShardedClips
from tests.lia_model.shards_on_disk import damage_frame, write_coloured_clips, write_shards


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


def test_frames_of_another_size_than_the_manifest_says_are_refused_on_opening(tmp_path):
    """A frame of them is damaged too."""
    write_shards(tmp_path, {"train": [np.zeros((4, 48, 48, 3), np.uint8)] * 2}, 32)
    damage_frame(tmp_path, 0, 0)
    told = (
        r"^\S+/train/00000\.tar holds frames of 48x48 px, and the manifest says 32x32: make the shards again"
    )
    with pytest.raises(ValueError, match=told):
        ShardedClips(tmp_path, "train")


TOLD = r"00000\.tar is missing, which the index beside it lists: copy the shards again, or set LIA_STORE_URL"


def test_a_missing_tar_is_named_when_its_clip_is_read_and_the_others_are_read_without_it(shards):
    (shards / "train/00000.tar").unlink()
    clips = ShardedClips(shards, "train")
    with pytest.raises(ValueError, match=TOLD):
        clips.frame(0, 0)
    assert clips.shard(4) == "train/00002.tar"
    assert abs(int(clips.frame(4, 7).mean()) - 47) <= 1


def test_without_any_tar_the_first_missing_one_is_named_on_opening(shards):
    for tar in (shards / "train").glob("*.tar"):
        tar.unlink()
    with pytest.raises(ValueError, match=TOLD):
        ShardedClips(shards, "train")
