import numpy as np
import pytest
import torch

from lia_model.data.pixels import to_float
from lia_model.data.sharded_clips import ShardedClips
from lia_model.settings import AugmentationSettings
from lia_model.training.pairs.augmentation import apply_change, draw_change
from lia_model.training.pairs.draw import PairDraw
from lia_model.training.pairs.loader import PairLoader
from tests.lia_model.shards_on_disk import write_coloured_clips


@pytest.fixture
def shards(tmp_path):
    write_coloured_clips(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pairs_per_visit", [1, 3])
def test_a_batch_holds_the_frames_of_its_pairs_as_images_in_range(shards, pairs_per_visit):
    clips = ShardedClips(shards, "train")
    draw = PairDraw(clips.num_frames, 0, pairs_per_visit)
    loader = PairLoader(clips, draw)
    numbers = range(24, 30)
    frames = loader.frames(numbers)
    assert frames.dtype == torch.uint8
    for place, (clip, *both) in enumerate(map(draw.pair, numbers)):
        for side, frame in enumerate(both):
            assert torch.equal(frames[place, side], torch.from_numpy(np.array(clips.frame(clip, frame))))
    source, driving = loader.images(frames, numbers)
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
    PairLoader(clips, PairDraw(clips.num_frames, 0, pairs_per_visit=3)).frames(range(6))
    assert len(opened) == 2


def test_both_frames_of_a_pair_are_changed_alike(shards):
    clips = ShardedClips(shards, "train")
    draw = PairDraw(clips.num_frames, 0)
    flips = AugmentationSettings(flip=True, brightness=0.5, contrast=0, saturation=0, hue=0)
    plain, changed = PairLoader(clips, draw), PairLoader(clips, draw, flips)
    numbers = range(4, 8)
    frames = plain.frames(numbers)
    before, after = plain.images(frames, numbers), changed.images(frames, numbers)
    for place, number in enumerate(numbers):
        change = draw_change(flips, draw.seed, number)
        for one, other in zip(before, after, strict=True):
            assert torch.equal(apply_change(one[place, None], change)[0], other[place])
