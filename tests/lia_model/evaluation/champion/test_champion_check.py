import dataclasses

import pytest

from lia_model.evaluation.champion.check import ChampionCheck, Limits
from lia_model.evaluation.champion.drift import Shift
from lia_model.evaluation.paired_comparison import Comparison

LIMITS = Limits(max_loss=0.1, max_shift=0.5)


def l1(mean, copying=0.1):
    return {"l1": Comparison("l1", "copying the source", mean, copying, None, 4, 4)}


def moved(distance):
    return Shift("yaw_deg", distance, 5.0, 40.0, 20, 20)


SOUND = ChampionCheck("models:/lia/3", l1(0.05), None, 0.05, l1(0.055), [moved(0.2)], 5, 2)


def test_a_champion_that_is_what_it_was_has_no_problem():
    assert SOUND.problems(LIMITS) == []
    assert "- **no problem**" in SOUND.report(LIMITS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frozen": None, "frozen_missing": "a clip was removed"}, "not measured: a clip was removed"),
        ({"at_release": 0.06}, "was 0.060000 at its release"),
        ({"present": l1(0.11)}, "not better than doing nothing on the present"),
        ({"present": l1(0.07)}, "a loss of 0.20, allowed is 0.1"),
        (
            {"shifts": [moved(0.7)]},
            "new clips differ in yaw_deg: distance 0.70, allowed 0.5; median 40 of 20",
        ),
    ],
)
def test_each_problem_is_told(change, problem):
    check = dataclasses.replace(SOUND, **change)
    (told,) = check.problems(LIMITS)
    assert problem in told
    assert told in check.report(LIMITS)
    assert check.document(LIMITS)["problems"] == [told]


def test_larger_limits_allow_more():
    check = dataclasses.replace(SOUND, present=l1(0.07), shifts=[moved(0.7)])
    assert len(check.problems(LIMITS)) == 2
    assert check.problems(Limits(max_loss=0.3, max_shift=0.8)) == []


def test_what_could_not_be_compared_is_no_problem():
    check = dataclasses.replace(SOUND, present=None, shifts=[moved(None)], at_release=None)
    assert check.problems(LIMITS) == []
    assert "| yaw_deg | - | 5 | 40 | 20 | 20 |" in check.report(LIMITS)
    assert "no clips that it was not trained on" in dataclasses.replace(SOUND, shifts=[]).report(LIMITS)
