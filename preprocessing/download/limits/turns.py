"""Waits for a turn at a host, for as long as it pays to hold a thread or a machine for it."""

import time
from collections.abc import Callable

from preprocessing.download.limits.host_limits import Turn

MAX_HOLD_S = 30.0
"""Longest wait; the source goes back to its queue for longer ones."""


def wait_for_turn(ask: Callable[[int | None], Turn], number: int | None = None) -> bool:
    """Ask for a turn until it is granted; return False if the host is not to be requested soon.

    Args:
        ask: takes the number of a turn that was granted before, or None, and returns a turn.
        number: of the turn to begin with; None for none.
    """
    turn = Turn(number=number)
    while not (turn := ask(turn.number)).is_granted:
        if turn.wait_s > MAX_HOLD_S:
            return False
        time.sleep(turn.wait_s)
    return True
