import json

import numpy as np
import pytest

from lia_model.evaluation.pairs import (
    PairReader,
    freeze,
    identity_of,
    other_people,
    read_list,
    thinned,
    write_list,
)
from tests.lia_model.evaluation_settings import evaluation_settings
from tests.lia_model.shards_on_disk import write_shards

SIZE_PX = 32


def moving_gradient(seed, num_frames=6):
    """Frames that differ, but not much."""
    rows = np.arange(SIZE_PX)[:, None] + np.arange(SIZE_PX)[None] + seed * 20
    frames = [np.repeat((rows + 8 * t)[..., None] % 256, 3, 2) for t in range(num_frames)]
    return np.stack(frames).astype(np.uint8)


@pytest.fixture
def shards(tmp_path):
    write_shards(tmp_path, {"train": [moving_gradient(0)], "test": list(map(moving_gradient, (1, 2, 3)))}, 32)
    return tmp_path


@pytest.fixture
def settings(models):
    return evaluation_settings(models)


def change_clips(shards, *changes):
    manifest = json.loads((shards / "manifest.json").read_text())
    for clip, change in zip(manifest["splits"]["test"]["clips"], changes, strict=True):
        clip.update(change)
    (shards / "manifest.json").write_text(json.dumps(manifest))


def reconstructions(pairs):
    return [pair for pair in pairs.pairs if pair.protocol == "reconstruction"]


def transfers(pairs):
    return [pair for pair in pairs.pairs if pair.protocol == "cross_identity"]


def test_long_clips_are_thinned_evenly_and_keep_both_ends():
    assert thinned(range(6), 4) == (0, 2, 3, 5)
    assert thinned(range(3), 4) == (0, 1, 2)
    assert thinned((0, 10, 20, 30, 40), 3) == (0, 20, 40)


def test_a_clip_is_reconstructed_from_its_own_first_frame(shards, settings):
    reader = PairReader(shards)
    pair = reconstructions(freeze(reader, settings))[0]
    item = reader.read(pair)
    assert (pair.frames, pair.face_frames, pair.mode) == ((0, 2, 3, 5), (0, 5), "absolute")
    assert item.face_positions == [0, 3]
    np.testing.assert_array_equal(item.source, item.frames[0])


def test_a_clip_that_follows_a_training_clip_takes_its_source_from_there(shards, settings):
    change_clips(shards, {"follows": "train-0", "by_time": True}, {}, {})
    reader = PairReader(shards)
    first, second, _ = map(reader.read, reconstructions(freeze(reader, settings)))
    assert np.abs(first.source.astype(int) - first.frames[0]).mean() > 10
    assert first.source_clip.key == "train-0"
    np.testing.assert_array_equal(second.source, second.frames[0])


def test_every_held_out_clip_animates_another_person(shards, settings):
    change_clips(shards, {"identity": "ann"}, {"identity": "ann"}, {"identity": "bob"})
    pairs = freeze(PairReader(shards), settings)
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


def test_sources_are_of_different_people_and_no_more_than_asked_for(shards, models):
    many = evaluation_settings(models, cross_identity={"num_sources_per_clip": 5, "mode": "absolute"})
    change_clips(shards, {"identity": "ann"}, {"identity": "ann"}, {"identity": "bob"})
    clips = PairReader(shards).held_out.clips
    assert len(other_people(clips[2], clips, many)) == 1
    change_clips(shards, {"identity": None}, {"identity": None}, {"identity": "bob"})
    clips = PairReader(shards).held_out.clips
    assert len(other_people(clips[2], clips, many)) == 2
    assert identity_of(clips[0]) == "source test-0"
    assert freeze(PairReader(shards), many).num_unknown_identities == 2


def test_the_choice_is_a_function_of_the_seed(shards, models):
    lists = [
        freeze(PairReader(shards), evaluation_settings(models, seed=seed)) for seed in (0, 0, *range(1, 6))
    ]
    assert lists[0] == lists[1]
    assert len({tuple(pair.source.clip for pair in transfers(one)) for one in lists}) > 1


def test_one_identity_alone_is_said_and_not_paired(shards, settings):
    change_clips(shards, *[{"identity": "ann"}] * 3)
    pairs = freeze(PairReader(shards), settings)
    assert len(reconstructions(pairs)) == 3
    assert not transfers(pairs)
    assert pairs.skipped[0].what == "cross_identity"
    assert "show one identity only" in pairs.skipped[0].reason


def test_a_written_list_is_read_back_and_held_by_its_shards(shards, settings, tmp_path):
    reader = PairReader(shards)
    pairs = freeze(reader, settings)
    write_list(pairs, tmp_path / "list.json")
    assert read_list(tmp_path / "list.json") == pairs
    reader.require(pairs)
    lines = (tmp_path / "list.json").read_text().splitlines()
    assert sum('"protocol"' in line for line in lines) == len(pairs.pairs)


def test_other_pixels_under_the_same_names_are_refused(shards, settings, tmp_path):
    pairs = freeze(PairReader(shards), settings)
    other = tmp_path / "other"
    write_shards(other, {"test": list(map(moving_gradient, (1, 2, 4)))}, 32)
    with pytest.raises(ValueError, match="holds other frames of clip test-0 or of its source test-2"):
        PairReader(other).require(pairs)


def test_a_missing_clip_is_named(shards, settings, tmp_path):
    pairs = freeze(PairReader(shards), settings)
    fewer = tmp_path / "fewer"
    write_shards(fewer, {"test": [moving_gradient(1)]}, 32)
    with pytest.raises(ValueError, match=r"holds no test clip test-1: evaluate on the shards"):
        PairReader(fewer).require(reconstructions_only(pairs))


def reconstructions_only(pairs):
    return pairs.model_copy(update={"pairs": tuple(reconstructions(pairs))})


@pytest.mark.parametrize("content", ["{}", "no json", '{"format_version": 2}'])
def test_a_file_that_is_no_list_is_one_line(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"list\.json is no evaluation list .*: name an evaluation_list\.json"
    ):
        read_list(tmp_path / "list.json")
    with pytest.raises(ValueError, match="does not exist"):
        read_list(tmp_path / "none.json")
