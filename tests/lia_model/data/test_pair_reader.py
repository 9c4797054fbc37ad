import numpy as np
import pytest

from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_reader import PairReader
from tests.lia_model.shards_on_disk import write_shards


def reconstructions_only(pairs):
    return pairs.model_copy(
        update={"pairs": tuple(pair for pair in pairs.pairs if pair.protocol == "reconstruction")}
    )


def test_other_pixels_under_the_same_names_are_refused(shards, settings, tmp_path, moving_gradient):
    pairs = choose_pairs(PairReader(shards), settings)
    other = tmp_path / "other"
    write_shards(other, {"test": list(map(moving_gradient, (1, 2, 4)))}, 32)
    with pytest.raises(ValueError, match="holds other frames of clip test-0 or of its source test-2"):
        PairReader(other).require(pairs)


def test_a_missing_clip_is_named(shards, settings, tmp_path, moving_gradient):
    pairs = choose_pairs(PairReader(shards), settings)
    fewer = tmp_path / "fewer"
    write_shards(fewer, {"test": [moving_gradient(1)]}, 32)
    with pytest.raises(ValueError, match=r"holds no test clip test-1: evaluate on the shards"):
        PairReader(fewer).require(reconstructions_only(pairs))


def test_a_pair_is_decoded_with_its_source_and_both_clips(shards, settings):
    reader = PairReader(shards)
    pair = choose_pairs(reader, settings, ("cross_identity",)).pairs[0]
    item = reader.read(pair)
    clips, source = reader.find(pair.source.split, pair.source.clip)
    np.testing.assert_array_equal(item.source, clips.frame(source.index, pair.source.frame))
    assert (item.driving.key, item.source_clip.key) == (pair.driving, pair.source.clip)
    assert item.frames.shape == (len(pair.frames), 32, 32, 3)
