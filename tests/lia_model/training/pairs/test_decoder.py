import numpy as np
import pytest

from lia_model.data.sharded_clips import ShardedClips
from lia_model.training.pairs.damage import DamagedFrame
from lia_model.training.pairs.decoder import PairDecoder
from lia_model.training.pairs.draw import PairDraw
from tests.lia_model.shards_on_disk import damage_frame, write_coloured_clips, write_shards

NUMBERS = range(40)


@pytest.fixture
def shards(tmp_path):
    write_coloured_clips(tmp_path)
    return tmp_path


def decoder_of(shards, seed=0):
    clips = ShardedClips(shards, "train")
    return PairDecoder(clips, PairDraw(clips.num_frames, seed))


def is_hit(pair, clip, frame):
    return pair[0] == clip and frame in pair[1:]


def test_a_pair_with_a_damaged_frame_becomes_another_one_and_no_other_pair_changes(shards, caplog):
    whole = decoder_of(shards).decode(NUMBERS)
    draw = PairDraw(ShardedClips(shards, "train").num_frames, 0)
    clip, frame, _ = draw.pair(5)
    intact = ShardedClips(shards, "train")
    expected = {number: draw.pair(number) for number in NUMBERS}
    hit = [number for number in NUMBERS if is_hit(expected[number], clip, frame)]
    assert 5 in hit
    for number in hit:
        candidates = [draw.replacement(number, attempt) for attempt in range(1, 9)]
        expected[number] = next(pair for pair in candidates if not is_hit(pair, clip, frame))
    wanted = {number: [intact.frame(pair[0], each) for each in pair[1:]] for number, pair in expected.items()}

    damage_frame(shards, clip, frame)
    decoder = decoder_of(shards)
    frames = decoder.decode(NUMBERS)
    for number in NUMBERS:
        np.testing.assert_array_equal(frames[number], wanted[number])
        assert (frames[number] == whole[number]).all() == (number not in hit)
    damaged = DamagedFrame(f"train-{clip}", frame, f"train/{clip // 2:05d}.tar", "not an image")
    replaced = decoder.take_replaced(len(NUMBERS))
    assert [pair.number for pair in replaced] == sorted(pair.number for pair in replaced) == hit
    assert {each for pair in replaced for each in pair.frames} == {damaged}
    assert len([line for line in caplog.messages if line.startswith(str(damaged))]) == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_loader_and_every_batch_chooses_the_same_replacement(shards, seed):
    for frame in range(3):
        damage_frame(shards, 1, frame)
    whole = decoder_of(shards, seed).decode(NUMBERS)
    other = decoder_of(shards, seed)
    for number in reversed(NUMBERS):
        np.testing.assert_array_equal(other.decode([number])[0], whole[number])
    ours = decoder_of(shards, seed)
    ours.decode(NUMBERS)
    assert sorted(other.take_replaced(99)) == sorted(ours.take_replaced(99))


def test_pairs_decoded_ahead_are_counted_when_they_are_consumed(shards):
    for frame in range(8):
        damage_frame(shards, 4, frame)
    decoder = decoder_of(shards)
    decoder.decode(NUMBERS)
    first = decoder.take_replaced(20)
    assert decoder.take_replaced(20) == []
    rest = decoder.take_replaced(40)
    assert all(pair.number < 20 for pair in first)
    assert all(pair.number >= 20 for pair in rest)
    assert len(first) + len(rest) >= 8


def test_a_pair_without_a_replacement_is_black_and_says_so(tmp_path):
    write_shards(tmp_path, {"train": [np.full((2, 32, 32, 3), 9, np.uint8)]}, 32)
    damage_frame(tmp_path, 0, 1)
    decoder = decoder_of(tmp_path)
    assert not decoder.decode([0]).any()
    assert [pair.is_replaced for pair in decoder.take_replaced(1)] == [False]


def test_a_frame_of_another_size_counts_as_damaged(tmp_path):
    clip = [np.zeros((size_px, size_px, 3), np.uint8) for size_px in (32, 8, 8, 32)]
    write_shards(tmp_path, {"train": [clip]}, 32)
    decoder = decoder_of(tmp_path)
    decoder.decode(range(4))
    replaced = decoder.take_replaced(4)
    assert {frame.reason for pair in replaced for frame in pair.frames} == {"8x8 instead of 32x32"}
