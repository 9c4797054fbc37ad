import numpy as np
import pytest

from lia_model.evaluation.paired_comparison import MIN_PEOPLE, compare

RESAMPLING = (500, 0)


def values(numbers):
    return {f"clip-{number}": float(value) for number, value in enumerate(numbers)}


def each_alone(numbers):
    return {clip: f"person of {clip}" for clip in values(numbers)}


def compare_numbers(ours, theirs, metric="l1", people=None, resampling=RESAMPLING):
    people = people or each_alone(ours)
    return compare(metric, "the other", values(ours), values(theirs), people, resampling)


@pytest.fixture(params=range(5))
def rng(request):
    return np.random.default_rng(request.param)


def test_exchanging_the_models_changes_the_sign_of_the_interval_and_nothing_else(rng):
    ours, theirs = rng.random((2, 12))
    one, other = compare_numbers(ours, theirs), compare_numbers(theirs, ours)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert (one.is_better, one.is_certainly_better) == (not other.is_better, other.is_certainly_worse)
    assert (one.mean, one.other_mean) == (other.other_mean, other.mean)


def test_the_order_of_the_clips_does_not_matter(rng):
    ours, theirs = values(rng.random(9)), values(rng.random(9))
    shuffled = dict(rng.permutation(list(ours.items())))
    shuffled = {clip: float(value) for clip, value in shuffled.items()}
    people = {clip: clip for clip in ours}
    assert compare("l1", "x", ours, theirs, people, RESAMPLING) == compare(
        "l1", "x", shuffled, theirs, people, RESAMPLING
    )


def test_the_same_values_are_neither_better_nor_worse(rng):
    numbers = rng.random(9)
    found = compare_numbers(numbers, numbers)
    assert found.interval == (0, 0)
    assert (found.is_better, found.is_certainly_better, found.is_certainly_worse) == (False, False, False)


def test_adding_a_constant_to_one_model_moves_the_interval_by_it(rng):
    ours, theirs = rng.random((2, 9))
    before, after = compare_numbers(ours, theirs), compare_numbers(ours + 0.25, theirs)
    assert after.interval == pytest.approx(np.add(before.interval, 0.25))


def test_equal_models_are_told_apart_about_as_often_as_the_coverage_says():
    rng = np.random.default_rng(7)
    wrong = sum(
        compare_numbers(*rng.normal(size=(2, 30)), resampling=(300, trial)).is_certainly_better
        for trial in range(300)
    )
    # One of two tails of 2.5 %, and a little more since a percentile interval is narrow for 30 values.
    assert wrong / 300 <= 0.06


def test_copies_of_a_persons_clips_add_no_certainty(rng):
    ours, theirs = rng.random((2, 6))
    people = {f"clip-{number}": f"person {number % 6}" for number in range(60)}
    once = compare_numbers(ours, theirs)
    often = compare_numbers(np.tile(ours, 10), np.tile(theirs, 10), people=people)
    assert often.interval == pytest.approx(once.interval)
    assert (often.num_clips, often.num_people) == (60, 6)


def test_fewer_people_than_can_agree_by_chance_give_no_interval():
    for num_people in range(1, MIN_PEOPLE + 1):
        found = compare_numbers(np.zeros(num_people), np.ones(num_people))
        assert found.is_better
        assert found.is_certainly_better is (num_people == MIN_PEOPLE)
        assert ("too few for an interval" in str(found)) is (num_people < MIN_PEOPLE)


def test_a_metric_whose_larger_values_are_better_is_read_the_other_way():
    low, high = np.linspace(0.5, 0.6, 8), np.linspace(0.7, 0.8, 8)
    assert compare_numbers(high, low, "ssim").is_certainly_better
    assert compare_numbers(low, high, "ssim").is_certainly_worse
    assert compare_numbers(high, low, "l1").is_certainly_worse


def test_only_clips_with_both_values_are_compared():
    ours = {"a": 0.1, "b": 0.2, "only ours": 0.0}
    theirs = {"a": 0.3, "b": 0.4, "only theirs": 9.0}
    found = compare("l1", "the other", ours, theirs, {clip: clip for clip in (*ours, *theirs)}, RESAMPLING)
    assert (found.num_clips, found.mean, found.other_mean) == (2, pytest.approx(0.15), pytest.approx(0.35))
    assert compare("l1", "the other", ours, {}, {}, RESAMPLING) is None


def test_the_sentence_gives_the_means_the_interval_and_who_was_counted():
    people = {f"clip-{number}": f"person {number // 2}" for number in range(12)}
    found = compare_numbers(np.full(12, 0.05), np.full(12, 0.0625), people=people)
    assert str(found) == (
        "L1 0.0500 against 0.0625 of the other (difference -0.0125 to -0.0125 at 95 %, 12 clips of 6 people)"
    )
    assert str(compare_numbers([0.05], [0.06])) == (
        "L1 0.0500 against 0.0600 of the other (1 clip of 1 person, too few for an interval)"
    )
