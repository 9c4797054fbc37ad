import numpy as np
import pytest
import torch

from lia_model.data.pixels import to_bytes, to_float
from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import AugmentationSettings
from lia_model.training.augmentation import apply_change, draw_change
from lia_model.training.pairs import PairLoader, PairSampler, visiting_order
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


def test_pairs_are_two_different_frames_of_one_clip():
    sampler = PairSampler((2, 3, 9), seed=0, rank=0, num_ranks=1, batch_size=30)
    for clip, source, driving in sampler.pairs(0):
        assert source != driving
        assert max(source, driving) < (2, 3, 9)[clip]


def test_the_order_of_an_epoch_is_drawn_once_however_many_pairs_need_it():
    visiting_order.cache_clear()
    sampler = PairSampler((5,) * 1000, seed=3, rank=0, num_ranks=1, batch_size=100)
    pairs = [pair for step in range(20) for pair in sampler.pairs(step)]
    assert visiting_order.cache_info().misses == 2
    assert sorted(clip for clip, _, _ in pairs[:1000]) == list(range(1000))
    with pytest.raises(ValueError, match="read-only"):
        visiting_order(3, 0, 1000)[0] = 1


def test_every_epoch_sees_every_clip_once_whatever_the_number_of_ranks():
    def drawn(num_ranks):
        samplers = [PairSampler((5,) * 8, 7, rank, num_ranks, 8 // num_ranks) for rank in range(num_ranks)]
        return [pair for step in range(3) for sampler in samplers for pair in sampler.pairs(step)]

    assert drawn(1) == drawn(2) == drawn(4)
    for epoch in range(3):
        assert sorted(clip for clip, _, _ in drawn(1)[8 * epoch : 8 * epoch + 8]) == list(range(8))


def test_pairs_are_a_function_of_the_seed_and_the_step():
    def sampler(seed):
        return PairSampler((50,) * 8, seed, 0, 1, 8)

    assert sampler(1).pairs(5) == sampler(1).pairs(5)
    assert sampler(1).pairs(5) != sampler(1).pairs(6)
    assert sampler(1).pairs(5) != sampler(2).pairs(5)


def test_all_frames_of_a_clip_are_drawn_about_equally_often():
    sampler = PairSampler((10,), 0, 0, 1, 4000)
    counts = np.bincount([source for _, source, _ in sampler.pairs(0)], minlength=10)
    assert counts.min() > 320
    assert counts.max() < 480


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_visit_gives_its_pairs_to_one_batch(num_ranks):
    samplers = [
        PairSampler((9,) * 6, 7, rank, num_ranks, 12 // num_ranks, pairs_per_visit=3)
        for rank in range(num_ranks)
    ]
    pairs = [pair for step in range(3) for sampler in samplers for pair in sampler.pairs(step)]
    # Two batches of all ranks are an epoch of six visits with three pairs each.
    for epoch in (pairs[:18], pairs[18:36]):
        visits = [epoch[start : start + 3] for start in range(0, 18, 3)]
        assert sorted({visit[0][0] for visit in visits}) == list(range(6))
        assert all(len({clip for clip, *_ in visit}) == 1 for visit in visits)
        assert any(len(set(visit)) == 3 for visit in visits)


@pytest.mark.parametrize("pairs_per_visit", [1, 3])
def test_a_batch_holds_the_frames_of_its_pairs_as_images_in_range(shards, pairs_per_visit):
    clips = ShardedClips(shards, "train")
    sampler = PairSampler(clips.num_frames, 0, 0, 1, 6, pairs_per_visit)
    loader = PairLoader(clips, sampler)
    frames = loader.frames(4)
    assert frames.dtype == torch.uint8
    for place, (clip, *both) in enumerate(sampler.pairs(4)):
        for side, frame in enumerate(both):
            assert torch.equal(frames[place, side], torch.from_numpy(np.array(clips.frame(clip, frame))))
    source, driving = loader.images(frames, 4)
    assert torch.equal(source, to_float(frames[:, 0]))
    assert torch.equal(driving, to_float(frames[:, 1]))
    assert source.is_contiguous()


def test_a_visit_opens_its_shard_once(shards, monkeypatch):
    clips = ShardedClips(shards, "train")
    opened = []
    monkeypatch.setattr(
        ShardedClips,
        "files",
        lambda self, clip, frames, get=ShardedClips.files: opened.append(clip) or get(self, clip, frames),
    )
    PairLoader(clips, PairSampler(clips.num_frames, 0, 0, 1, 6, pairs_per_visit=3)).frames(0)
    assert len(opened) == 2


def test_both_frames_of_a_pair_are_changed_alike(shards):
    clips = ShardedClips(shards, "train")
    sampler = PairSampler(clips.num_frames, 0, 0, 1, 4)
    flips = AugmentationSettings(flip=True, brightness=0.5, contrast=0, saturation=0, hue=0)
    plain, changed = PairLoader(clips, sampler), PairLoader(clips, sampler, flips)
    frames = plain.frames(1)
    before, after = plain.images(frames, 1), changed.images(frames, 1)
    for place, number in enumerate(sampler.numbers(1)):
        change = draw_change(flips, sampler.seed, number)
        for one, other in zip(before, after, strict=True):
            assert torch.equal(apply_change(one[place, None], change)[0], other[place])
