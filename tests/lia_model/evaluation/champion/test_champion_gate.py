import numpy as np
import pytest

from lia_model.data.pair_list import Skipped
from lia_model.evaluation.champion.gate import NOT_WORSE_THAN_CHAMPION, Evidence, check_list, decide
from lia_model.evaluation.paired_comparison import compare

NUM_PEOPLE = 8
CLIPS = [f"clip-{number}" for number in range(NUM_PEOPLE)]
COPYING = {"l1": 0.10, "lpips": 0.30}


def against(other, ours, theirs, clips=CLIPS):
    """Compare values by metric, each a number for all clips or one a clip."""
    found = {}
    for metric in (name for name in ours if name in theirs):
        one, two = (np.broadcast_to(values[metric], len(clips)) for values in (ours, theirs))
        found[metric] = compare(
            metric,
            other,
            dict(zip(clips, map(float, one), strict=True)),
            dict(zip(clips, map(float, two), strict=True)),
            {clip: clip for clip in clips},
            (200, 0),
        )
    return found


def evidence(ours, champion=None, copying=COPYING, **others):
    return Evidence(
        copying=against("copying the source", ours, copying),
        champion_version=None if champion is None else "3",
        champion={} if champion is None else against("champion version 3", ours, champion),
        **others,
    )


def draw(rng, spread=0.02):
    """Return a model's values by metric and clip."""
    levels = {"l1": 0.08, "lpips": 0.2, "akd": 2.0, "mkr": 0.1}
    return {name: level * (1 + spread * rng.normal(size=NUM_PEOPLE)) for name, level in levels.items()}


@pytest.fixture(params=range(20))
def models(request):
    rng = np.random.default_rng(request.param)
    return draw(rng, 0.3), draw(rng, 0.3)


def scaled(values, factor, *names):
    return {name: each * factor if name in names else each for name, each in values.items()}


# Properties, over models drawn at random.


def test_what_is_promoted_beats_copying_and_certainly_the_champion_and_loses_nowhere(models):
    ours, champion = models
    found = evidence(ours, champion)
    verdict = decide(found, "l1")
    if verdict.is_passed:
        assert all(each.is_better for each in found.copying.values())
        assert found.champion["l1"].is_certainly_better
        assert not any(each.is_certainly_worse for each in found.champion.values())
    assert decide(evidence(scaled(ours, 0.5, *ours), champion), "l1").is_passed


def test_two_models_never_replace_each_other(models):
    ours, theirs = models
    for better in (ours, scaled(ours, 0.6, *ours)):
        both = [decide(evidence(*pair), "l1").is_passed for pair in ((better, theirs), (theirs, better))]
        assert sum(both) <= 1


@pytest.mark.parametrize("metric", NOT_WORSE_THAN_CHAMPION)
def test_getting_worse_never_turns_a_refusal_into_a_promotion(models, metric):
    ours, champion = models
    passed = [
        decide(evidence(scaled(ours, factor, metric), champion), "l1").is_passed
        for factor in (0.3, 0.7, 1, 1.5, 3)
    ]
    assert passed == sorted(passed, reverse=True)


def test_a_model_does_not_replace_itself(models):
    ours, _ = models
    assert not decide(evidence(ours, ours), "l1").is_passed


@pytest.mark.parametrize("name", COPYING)
def test_whatever_is_worse_than_copying_is_refused_with_and_without_a_champion(models, name):
    ours, champion = models
    ours = ours | {name: np.full(NUM_PEOPLE, COPYING[name] + 0.01)}
    for other in (None, champion, scaled(champion, 100, *champion)):
        verdict = decide(evidence(ours, other), "l1")
        assert not verdict.is_passed
        assert "not better than doing nothing" in verdict.reason
        assert "of copying the source" in verdict.tags["lia.worse_than_copying"]


def test_every_verdict_is_recorded_with_its_numbers(models):
    ours, champion = models
    verdict = decide(evidence(ours, champion), "l1")
    tags = verdict.tags
    assert tags["lia.gate"] == ("passed" if verdict.is_passed else "refused")
    assert verdict.reason.startswith("promoted to champion: " if verdict.is_passed else "not promoted: ")
    assert tags["lia.gate_reason"] == verdict.reason
    assert tags["lia.gate_l1"] == f"{np.mean(ours['l1']):.6f}"
    assert tags["lia.gate_champion_akd"] == f"{np.mean(champion['akd']):.6f}"
    assert tags["lia.gate_copy_source_lpips"] == "0.300000"
    assert ("lia.replaced" in tags) is verdict.is_passed
    assert verdict.text.splitlines() == [verdict.reason, *(f"  {line}" for line in verdict.details)]


# Examples.

GOOD = {"l1": 0.05, "lpips": 0.2, "akd": 2.0, "mkr": 0.0}
BETTER = {"l1": 0.04, "lpips": 0.2, "akd": 2.0, "mkr": 0.0}


def test_the_first_model_only_has_to_beat_copying():
    verdict = decide(evidence(GOOD), "l1")
    assert verdict.is_passed
    assert verdict.reason == (
        "promoted to champion: better than copying the source in L1 and LPIPS, and no version was champion "
        "before"
    )
    assert "lia.replaced" not in verdict.tags
    assert verdict.details[0] == (
        "L1 0.0500 against 0.1000 of copying the source (difference -0.0500 to -0.0500 at 95 %, "
        "8 clips of 8 people)"
    )


def test_a_better_challenger_replaces_the_champion_and_names_it_for_a_rollback():
    verdict = decide(evidence(BETTER, GOOD), "l1")
    assert verdict.is_passed
    assert verdict.tags["lia.replaced"] == "3"
    assert "L1 0.0400 against 0.0500 of champion version 3 (difference" in verdict.reason


@pytest.mark.parametrize(("metric", "worse"), [("lpips", 0.25), ("akd", 2.5), ("mkr", 0.2)])
def test_a_gain_in_one_metric_does_not_pay_for_a_certain_loss_in_another(metric, worse):
    verdict = decide(evidence(BETTER | {metric: worse}, GOOD), "l1")
    assert not verdict.is_passed
    assert "worse than champion version 3: " in verdict.reason


def test_a_gain_that_chance_explains_is_not_enough():
    noisy = GOOD | {"l1": np.array([0.02, 0.07, 0.02, 0.07, 0.04, 0.055, 0.04, 0.06])}
    verdict = decide(evidence(noisy, GOOD), "l1")
    assert np.mean(noisy["l1"]) < GOOD["l1"]
    assert "not certainly better than champion version 3: L1 0.0469 against 0.0500" in verdict.reason


def test_few_people_prove_nothing_and_that_is_said():
    clips = CLIPS[:3]
    found = Evidence(
        copying=against("copying the source", BETTER, COPYING, clips),
        champion_version="3",
        champion=against("champion version 3", BETTER, GOOD, clips),
    )
    verdict = decide(found, "l1")
    assert not verdict.is_passed
    assert "too few people are held out to compare with champion version 3" in verdict.reason
    assert "3 clips of 3 people" in verdict.reason


def test_the_chosen_metric_decides():
    sharper = GOOD | {"lpips": 0.1}
    assert decide(evidence(sharper, GOOD), "lpips").is_passed
    assert not decide(evidence(sharper, GOOD), "l1").is_passed


def test_what_was_not_measured_is_named_and_cannot_decide():
    blind = {name: value for name, value in BETTER.items() if name in ("l1", "mkr")}
    skipped = [Skipped(what="lpips", reason="no file"), Skipped(what="akd", reason="no network")]
    found = evidence(blind, {name: GOOD[name] for name in blind}, not_compared=skipped)
    verdict = decide(found, "l1")
    assert verdict.is_passed
    assert verdict.details[-2:] == ("not compared: LPIPS: no file", "not compared: AKD: no network")
    assert verdict.tags["lia.gate_not_compared"] == "lpips, akd"
    assert "better than copying the source in L1, and" in decide(evidence(blind), "l1").reason
    refused = decide(found, "akd")
    assert "AKD, which release.metric names, was not compared with champion version 3" in refused.reason


def test_a_model_judged_by_time_says_so_and_how_it_does_on_other_people():
    others = against("copying the source", {"l1": 0.2, "lpips": 0.4}, COPYING, CLIPS[:1])
    verdict = decide(evidence(GOOD, is_by_time=True, other_people=others), "l1")
    assert verdict.is_passed
    assert verdict.reason.endswith(
        "; judged only on clips that are split by time; on other people it is worse than doing nothing in L1 "
        "and LPIPS"
    )
    assert verdict.tags["lia.gate_clips"] == "split by time"
    assert "L1 0.2000 against 0.1000 of copying the source" in verdict.tags["lia.worse_than_copying"]
    assert any("says nothing about other people" in line for line in verdict.details)
    assert any(
        line.startswith("for information, on other people: not better than doing nothing")
        for line in verdict.details
    )


def test_people_are_called_held_out_only_if_that_is_known():
    known, unknown = (
        decide(evidence(GOOD, people_unknown=reason), "l1") for reason in (None, "no embedder is set")
    )
    assert known.tags["lia.gate_clips"] == "held-out people"
    assert unknown.is_passed
    assert unknown.reason.endswith("; it may have been trained on the same people")
    assert unknown.tags["lia.gate_clips"] == "held out; people not known to be others: no embedder is set"
    line = "it is not known whether the held-out clips show other people: no embedder is set"
    assert line in unknown.details
    assert line not in known.details


def test_a_list_split_by_time_is_refused_unless_allowed():
    refusal = check_list(is_identity_disjoint=False, allow_by_time=False)
    assert refusal is not None
    assert not refusal.is_passed
    assert "split by time" in refusal.reason
    assert refusal.tags == {"lia.gate": "refused", "lia.gate_reason": refusal.reason}
    for is_disjoint, allow in ((False, True), (True, False), (True, True), (None, False)):
        assert check_list(is_identity_disjoint=is_disjoint, allow_by_time=allow) is None
