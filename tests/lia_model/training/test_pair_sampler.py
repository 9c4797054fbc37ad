import numpy as np
import pytest

from lia_model.training.pair_sampler import PairSampler, visiting_order


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
