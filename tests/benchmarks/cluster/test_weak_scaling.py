import pytest

from tests.benchmarks.cluster.weak_scaling import Bucket, Link, all_reduce_s, measure_buckets, step_s

FAST, SLOW = Link(1e12, 0.0), Link(1e6, 0.0)
AT_THE_END = [Bucket("G", 1_000_000, 1.0)]


def test_a_ring_moves_twice_the_bytes_but_for_one_share_and_a_tree_adds_latency():
    assert all_reduce_s(100, 4, Link(50.0, 0.5)) == pytest.approx(2 * 3 / 4 * 100 / 50 + 2 * 2 * 0.5)
    assert all_reduce_s(100, 1, SLOW) == 0


def test_what_is_sent_while_the_backward_pass_goes_on_costs_nothing():
    early = [Bucket("G", 1000, 0.1), Bucket("G", 0, 1.0)]
    assert step_s(1.0, early, 64, FAST) == pytest.approx(1.0)


def test_what_is_complete_at_the_end_is_waited_for():
    assert step_s(1.0, AT_THE_END, 2, SLOW) == pytest.approx(1.0 + 1.0)
    assert step_s(1.0, AT_THE_END, 1, SLOW) == 1.0


def test_each_network_is_waited_for_by_itself():
    both = [Bucket("G", 1_000_000, 0.5), Bucket("D", 1_000_000, 1.0)]
    assert step_s(1.0, both, 2, SLOW) == pytest.approx(1.0 + 2 * 1.0)


@pytest.mark.slow
def test_the_buckets_hold_the_gradients_of_both_networks():
    buckets = measure_buckets(None, width=0.05, size_px=64)
    assert list(dict.fromkeys(bucket.network for bucket in buckets)) == ["G", "D"]
    assert all(0 < bucket.ready <= 1 for bucket in buckets)
    assert sum(bucket.num_bytes for bucket in buckets) > 0
