import threading
import time
from itertools import count

import pytest

from lia_model.animation.prefetch import prefetch


def test_items_keep_their_order():
    assert list(prefetch(range(100), 3)) == list(range(100))
    assert list(prefetch([], 3)) == []


def test_the_thread_is_at_most_depth_items_ahead():
    made = []
    stream = prefetch((made.append(n) or n for n in count()), 4)
    for taken in range(5):
        next(stream)
        time.sleep(0.05)
        # Those in the queue, and one more that waits for a free place.
        assert len(made) <= taken + 1 + 4 + 1
    stream.close()


def test_an_error_is_raised_after_the_items_before_it():
    def broken():
        yield 1
        raise KeyError("two")

    stream = prefetch(broken(), 2)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="two"):
        next(stream)


def test_closing_ends_the_thread_and_closes_its_input():
    closed = threading.Event()

    def endless():
        try:
            yield from count()
        finally:
            closed.set()

    before = threading.active_count()
    stream = prefetch(endless(), 2)
    next(stream)
    stream.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_the_next_item_is_produced_while_one_is_used():
    second_begun = threading.Event()

    def items():
        yield 1
        second_begun.set()
        yield 2

    stream = prefetch(items(), 1)
    assert next(stream) == 1
    assert second_begun.wait(timeout=10)
    assert list(stream) == [2]
