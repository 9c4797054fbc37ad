import json

import pytest

from lia_model.training.pairs.damage import (
    MAX_NAMED,
    MIN_REPLACED_PAIRS,
    Damage,
    DamagedFrame,
    ReplacedPair,
)
from lia_model.training.stop import DamagedDataError


def frame(number):
    return DamagedFrame("a-clip", number, "train/00000.tar", "not an image")


def damage_of(num_pairs, num_frames=1):
    damage = Damage()
    damage.add(ReplacedPair(number, (frame(number % num_frames),), True) for number in range(num_pairs))
    return damage


@pytest.mark.parametrize(
    ("num_replaced", "num_pairs"), [(0, 0), (1, 1), (MIN_REPLACED_PAIRS, 20), (1000, 1_000_000)]
)
def test_a_few_pairs_and_a_thousandth_of_all_may_be_replaced(num_replaced, num_pairs):
    damage_of(num_replaced).require_little(num_pairs)


@pytest.mark.parametrize(("num_replaced", "num_pairs"), [(MIN_REPLACED_PAIRS + 1, 20), (1001, 1_000_000)])
def test_more_end_the_run_with_the_frames(num_replaced, num_pairs):
    with pytest.raises(
        DamagedDataError,
        match=rf"^{num_replaced} of {num_pairs} pairs .* at most 0.1% may: .* damaged are "
        r"frame 0 of a-clip in train/00000.tar \(not an image\), frame 1 of",
    ):
        damage_of(num_replaced, num_frames=2).require_little(num_pairs)


def test_a_pair_without_a_replacement_ends_the_run_at_once():
    damage = Damage()
    damage.add([ReplacedPair(0, (frame(0),), False)])
    with pytest.raises(DamagedDataError, match="1 of 1000000 pairs"):
        damage.require_little(1_000_000)


def test_a_long_list_is_cut_and_says_so():
    with pytest.raises(DamagedDataError, match=r"and 50 more$"):
        damage_of(MAX_NAMED + 50, MAX_NAMED + 50).require_little(1000)


def test_damage_adds_up_and_survives_a_checkpoint():
    damage = damage_of(3, num_frames=2)
    damage.add([ReplacedPair(9, (frame(1), frame(5)), True)])
    assert damage.metrics() == {"data/damaged_frames": 3, "data/replaced_pairs": 4}
    assert Damage.from_counters(json.loads(json.dumps(damage.counters()))) == damage
    assert Damage().metrics() == Damage().counters() == {}
    assert Damage.from_counters({"step": 3}) == Damage()
