import pytest

from lia_model.evaluation.champion_gate import UNOPPOSED, check_list, compare


def test_a_challenger_without_a_champion_is_promoted():
    assert UNOPPOSED.is_passed
    assert UNOPPOSED.tags == {"lia.gate": "passed", "lia.gate_reason": UNOPPOSED.reason}


def test_a_list_split_by_time_is_refused_unless_allowed():
    refusal = check_list(is_identity_disjoint=False, allow_by_time=False)
    assert refusal is not None
    assert not refusal.is_passed
    assert "split by time" in refusal.reason
    assert refusal.tags["lia.gate"] == "refused"
    for is_disjoint, allow in ((False, True), (True, False), (True, True)):
        assert check_list(is_identity_disjoint=is_disjoint, allow_by_time=allow) is None


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
