from dataclasses import replace
from itertools import count

import pytest

from lia_model.animation.run import AnimationRun, StoppedError
from tests.lia_model.animation.small_model import SIZE


def answers(*later):
    """Return a function that gives these answers one after another."""
    given = iter(later)
    return lambda: next(given)


@pytest.mark.parametrize("num_items", [0, 1, 7])
def test_without_a_stop_all_items_come_in_order(animator, num_items):
    assert list(AnimationRun(animator, None).until_stopped(range(num_items))) == list(range(num_items))


@pytest.mark.parametrize("num_before", range(4))
def test_a_stop_ends_the_items_after_exactly_those_before_it(animator, num_before):
    run = AnimationRun(animator, None, should_stop=answers(*[False] * num_before, True))
    items = run.until_stopped(count())
    assert [next(items) for _ in range(num_before)] == list(range(num_before))
    with pytest.raises(StoppedError):
        next(items)


def test_items_are_taken_one_at_a_time(animator):
    taken = []
    items = AnimationRun(animator, None).until_stopped(taken.append(n) or n for n in count())
    assert taken == []
    for number in range(3):
        assert next(items) == number
        assert taken == list(range(number + 1))


def test_a_stop_after_the_last_item_is_too_late(animator):
    run = AnimationRun(animator, None, should_stop=answers(False, False, True))
    assert list(run.until_stopped("ab")) == ["a", "b"]


def test_an_error_of_the_items_is_passed_on(animator):
    def broken():
        yield 1
        raise KeyError("two")

    items = AnimationRun(animator, None).until_stopped(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_by_default_progress_is_ignored_and_the_cpu_decodes_and_encodes(animator):
    run = AnimationRun(animator, None)
    assert run.progress(1, 2) is None
    assert not run.should_stop()
    assert not run.decoding.hardware
    assert not run.hardware_encoding


def test_pictures_are_as_large_as_the_models(animator):
    run = AnimationRun(animator, None)
    assert run.size_px == animator.size_px == SIZE
    assert replace(run, batch_size=3).size_px == SIZE
