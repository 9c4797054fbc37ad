import pytest

from lia_model.training.pair_draw import PairDraw
from lia_model.training.pair_sampler import PairSampler

# Each way to draw, of clips of unequal lengths.
NUM_FRAMES = (5, 9, 3, 7, 4, 6)
WAYS = {
    "clip": PairDraw(NUM_FRAMES, 7),
    "visits of three": PairDraw(NUM_FRAMES, 7, pairs_per_visit=3),
    "person": PairDraw(NUM_FRAMES, 7, balance="person", people=("a", "b", "a", "a", "c", "b")),
    "frames": PairDraw(NUM_FRAMES, 7, balance="frames"),
}


def dealt(draw, num_ranks, num_steps=4, num_pairs=12):
    samplers = [PairSampler(draw, rank, num_ranks, num_pairs // num_ranks) for rank in range(num_ranks)]
    return [pair for step in range(num_steps) for sampler in samplers for pair in sampler.pairs(step)]


@pytest.mark.parametrize("way", WAYS)
def test_any_number_of_ranks_trains_on_the_same_pairs_in_the_same_order(way):
    alone = dealt(WAYS[way], 1)
    for num_ranks in (2, 3, 4):
        assert dealt(WAYS[way], num_ranks) == alone
    assert alone == [WAYS[way].pair(number) for number in range(48)]


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_no_pair_goes_to_two_ranks_or_to_two_steps(num_ranks):
    samplers = [PairSampler(WAYS["clip"], rank, num_ranks, 4) for rank in range(num_ranks)]
    numbers = [number for step in range(5) for each in samplers for number in each.numbers(step)]
    assert numbers == list(range(20 * num_ranks))
    assert samplers[0].num_pairs_before(5) == len(numbers)
    assert all(min(each.numbers(5)) >= len(numbers) for each in samplers)
