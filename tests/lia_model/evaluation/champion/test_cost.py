import pytest

from lia_model.evaluation.champion.cost import Cost, CostComparison
from lia_model.settings import CostSettings

LIMITS = CostSettings(num_frames=1, num_rounds=1, max_latency_ratio=1.5, max_memory_ratio=2)
CHAMPION = Cost(latency_ms=10, peak_bytes=10**9)


def compared(latency_ms, peak_bytes, champion=CHAMPION):
    return CostComparison(Cost(latency_ms, peak_bytes), champion, LIMITS, "on cpu in fp32")


@pytest.mark.parametrize(("latency_ms", "peak_bytes"), [(1, 1), (15, 2 * 10**9)])
def test_what_keeps_within_the_limits_is_not_objected_to(latency_ms, peak_bytes):
    assert compared(latency_ms, peak_bytes).objections() == []


def test_a_slower_and_a_larger_model_are_objected_to_with_both_figures_and_the_setting():
    (slower,) = compared(15.2, 1).objections()
    assert "latency 15.2 ms a frame, 1.52 times the champion's 10 ms, allowed is 1.5 times" in slower
    assert "release.cost.max_latency_ratio" in slower
    (larger,) = compared(1, 2_100_000_000).objections()
    assert "peak memory 2.1 GB, 2.10 times the champion's 1 GB, allowed is 2 times" in larger
    assert "release.cost.max_memory_ratio" in larger
    assert len(compared(16, 3 * 10**9).objections()) == 2


def test_the_first_model_is_measured_and_not_objected_to():
    alone = compared(10**6, 10**15, champion=None)
    assert alone.objections() == []
    assert alone.details()[0] == "latency 1e+06 ms a frame, on cpu in fp32"
    assert alone.tags() == {
        "lia.gate_latency_ms": "1000000.000",
        "lia.gate_peak_bytes": str(10**15),
        "lia.gate_measured_on": "on cpu in fp32",
    }


def test_the_champions_costs_are_tags_too():
    tags = compared(12, 5).tags()
    assert tags["lia.gate_champion_latency_ms"] == "10.000"
    assert tags["lia.gate_champion_peak_bytes"] == str(10**9)
