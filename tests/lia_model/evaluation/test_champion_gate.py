import pytest

from lia_model.evaluation.champion_gate import compare, decide_unmeasured


def test_the_first_version_is_promoted_without_a_comparison():
    verdict = decide_unmeasured(has_champion=False, is_identity_disjoint=True, allow_by_time=False)
    assert verdict is not None
    assert verdict.is_passed
    assert verdict.tags == {"lia.gate": "passed", "lia.gate_reason": verdict.reason}


@pytest.mark.parametrize("has_champion", [True, False])
def test_a_list_split_by_time_is_refused_unless_allowed(has_champion):
    refused = decide_unmeasured(has_champion=has_champion, is_identity_disjoint=False, allow_by_time=False)
    assert refused is not None
    assert not refused.is_passed
    assert "split by time" in refused.reason
    allowed = decide_unmeasured(has_champion=has_champion, is_identity_disjoint=False, allow_by_time=True)
    assert allowed is None or allowed.is_passed


def test_a_champion_has_to_be_compared():
    assert decide_unmeasured(has_champion=True, is_identity_disjoint=True, allow_by_time=False) is None


@pytest.mark.parametrize(("challenger_l1", "is_passed"), [(0.09, True), (0.1, False), (0.11, False)])
def test_only_a_lower_l1_replaces_the_champion(challenger_l1, is_passed):
    verdict = compare(challenger_l1, 0.1, champion_version="3", list_sha256="abc")
    assert verdict.is_passed is is_passed
    assert ("lia.replaced" in verdict.tags) is is_passed
    assert verdict.tags["lia.gate"] == ("passed" if is_passed else "refused")
    assert verdict.tags["lia.gate_l1"] == f"{challenger_l1:.6f}"
    assert verdict.tags["lia.gate_champion_l1"] == "0.100000"
    assert verdict.tags["lia.gate_list"] == "abc"
    assert verdict.reason.startswith("promoted" if is_passed else "not promoted")
