from pathlib import Path

import numpy as np
import pytest

from preprocessing.clips.sample import ClipMetadata, PreparedClip
from preprocessing.shards.grouping import group_into_shards
from preprocessing.sources.source import source_key


@pytest.fixture(scope="module")
def many():
    """Clips of a hundred sources, two each, of 10 kB each."""
    clips = []
    for number in range(100):
        url = f"http://a.org/{number}.mp4"
        for place in (0, 1):
            clip = ClipMetadata(
                key=f"{source_key(url)}-whole-{place:03d}-000000", source_key=source_key(url), url=url,
                licence=None, identity=None, split="train", by_time=False, follows=None, start_s=0.0,
                end_s=1.0, num_frames=1, fps=25.0, times_s=[0.0], size_px=16, crop_rule="fomm_square",
                crop_box=(0, 0, 16, 16), frame_size_px=(32, 32), mean_score=0.9,
            )  # fmt: skip
            prepared = PreparedClip(
                clip=clip, file=Path("nowhere"), frame_bytes=[10_000], frames_sha256="", signature=""
            )
            clips.append(prepared.kept())
    return sorted(clips, key=lambda one: one.key)


def test_clips_of_one_source_share_a_shard_of_about_the_wanted_size(many):
    shards = group_into_shards(many, 200_000)
    assert [clip for shard in shards for clip in shard] == many
    homes = [{clip.source_key for clip in shard} for shard in shards]
    assert sum(len(keys) for keys in homes) == 100
    sizes = [sum(clip.num_bytes for clip in shard) for shard in shards]
    assert max(sizes) <= 400_000
    assert 100_000 < np.mean(sizes) < 300_000
    assert all(len(shard) == 2 for shard in group_into_shards(many, 1))


def test_a_source_that_goes_changes_its_own_shard_and_hardly_another(many):
    before = {tuple(clip.key for clip in shard) for shard in group_into_shards(many, 200_000)}
    numbers = []
    for gone in {clip.source_key for clip in many}:
        left = [clip for clip in many if clip.source_key != gone]
        after = {tuple(clip.key for clip in shard) for shard in group_into_shards(left, 200_000)}
        numbers.append(len(after - before))
    assert max(numbers) <= 2
    assert np.mean(numbers) < 1.2
