"""Which of the waiting jobs starts next: uploads first, then one owner after another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """The jobs of one owner that may start, either of batches or not.

    Among themselves they start by priority, then in the order of submission.
    """

    owner: str | None
    is_batch: bool


def turn_of(owner: str | None) -> str:
    """Return the key of an owner's turn; those without a name share one."""
    return owner or ""


def order_of_service(lines: Iterable[Line], turns: Mapping[str, int]) -> list[Line]:
    """Return the lines in the order in which they are to be served.

    Uploads come before items of batches, which may be many and which nobody watches. Among these, owners take
    turns, so that nobody waits for all the jobs of another.

    Args:
        lines: the waiting ones.
        turns: number of each owner's latest turn by `turn_of`; one who had none comes first.
    """

    def place(line: Line) -> tuple[bool, int, str]:
        key = turn_of(line.owner)
        return line.is_batch, turns.get(key, 0), key

    return sorted(lines, key=place)


def next_turn(turns: Mapping[str, int]) -> int:
    """Return the number of the turn after all these."""
    return 1 + max(turns.values(), default=0)
