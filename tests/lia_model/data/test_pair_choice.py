import numpy as np

from lia_model.data.pair_choice import choose_pairs, identity_of, other_identities, sample_evenly
from lia_model.data.pair_reader import PairReader
from tests.lia_model.evaluation_settings import evaluation_settings


def reconstructions(pairs):
    return [pair for pair in pairs.pairs if pair.protocol == "reconstruction"]


def transfers(pairs):
    return [pair for pair in pairs.pairs if pair.protocol == "cross_identity"]


def test_long_clips_are_thinned_evenly_and_keep_both_ends():
    assert sample_evenly(range(6), 4) == (0, 2, 3, 5)
    assert sample_evenly(range(3), 4) == (0, 1, 2)
    assert sample_evenly((0, 10, 20, 30, 40), 3) == (0, 20, 40)


def test_a_clip_is_reconstructed_from_its_own_first_frame(shards, settings):
    reader = PairReader(shards)
    pair = reconstructions(choose_pairs(reader, settings))[0]
    item = reader.read(pair)
    assert (pair.frames, pair.face_frames, pair.mode) == ((0, 2, 3, 5), (0, 5), "absolute")
    assert item.face_positions == [0, 3]
    np.testing.assert_array_equal(item.source, item.frames[0])


def test_a_clip_that_follows_a_training_clip_takes_its_source_from_there(shards, settings, change_clips):
    change_clips({"follows": "train-0", "by_time": True}, {}, {})
    reader = PairReader(shards)
    first, second, _ = map(reader.read, reconstructions(choose_pairs(reader, settings)))
    assert np.abs(first.source.astype(int) - first.frames[0]).mean() > 10
    assert first.source_clip.key == "train-0"
    np.testing.assert_array_equal(second.source, second.frames[0])


def test_every_held_out_clip_animates_another_person(shards, settings, change_clips):
    change_clips({"identity": "ann"}, {"identity": "ann"}, {"identity": "bob"})
    pairs = choose_pairs(PairReader(shards), settings)
    assert {pair.driving: pair.source.clip for pair in transfers(pairs)}.keys() == {
        "test-0",
        "test-1",
        "test-2",
    }
    for pair in transfers(pairs):
        assert "test-2" in (pair.driving, pair.source.clip)
        assert pair.driving != pair.source.clip
        assert pair.mode == "relative"
    assert pairs.num_unknown_identities == 0


def test_sources_are_of_different_people_and_no_more_than_asked_for(shards, models, change_clips):
    many = evaluation_settings(models, cross_identity={"num_sources_per_clip": 5, "mode": "absolute"})
    change_clips({"identity": "ann"}, {"identity": "ann"}, {"identity": "bob"})
    clips = PairReader(shards).held_out.clips
    assert len(other_identities(clips[2], clips, many)) == 1
    change_clips({"identity": None}, {"identity": None}, {"identity": "bob"})
    clips = PairReader(shards).held_out.clips
    assert len(other_identities(clips[2], clips, many)) == 2
    assert identity_of(clips[0]) == "source test-0"
    assert choose_pairs(PairReader(shards), many).num_unknown_identities == 2


def test_the_choice_is_a_function_of_the_seed(shards, models):
    lists = [
        choose_pairs(PairReader(shards), evaluation_settings(models, seed=seed))
        for seed in (0, 0, *range(1, 6))
    ]
    assert lists[0] == lists[1]
    assert len({tuple(pair.source.clip for pair in transfers(one)) for one in lists}) > 1


def test_one_identity_alone_is_said_and_not_paired(shards, settings, change_clips):
    change_clips(*[{"identity": "ann"}] * 3)
    pairs = choose_pairs(PairReader(shards), settings)
    assert len(reconstructions(pairs)) == 3
    assert not transfers(pairs)
    assert pairs.skipped[0].what == "cross_identity"
    assert "show one identity only" in pairs.skipped[0].reason
