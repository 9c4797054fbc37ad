import time

from preprocessing.download.limits.host_limits import Turn
from preprocessing.download.limits.turns import wait_for_turn


def test_short_waits_are_waited_for_with_the_number_of_the_turn():
    turns, asked = [Turn(0.1, number=7), Turn(0.1, number=7), Turn(number=7)], []
    started = time.monotonic()
    assert wait_for_turn(lambda number: asked.append(number) or turns.pop(0), 3)
    assert asked == [3, 7, 7]
    assert time.monotonic() - started >= 0.2


def test_a_host_that_is_not_free_soon_is_not_waited_for():
    started = time.monotonic()
    assert not wait_for_turn(lambda number: Turn(3000.0))
    assert not wait_for_turn(lambda number: Turn(float("inf")))
    assert time.monotonic() - started < 60
