"""Which pairs a rank trains on at a step: the ranks share out one sequence of numbered pairs."""

from __future__ import annotations

from dataclasses import dataclass

from lia_model.training.pair_draw import Pair, PairDraw


@dataclass(frozen=True)
class PairSampler:
    """Deals out pairs, numbered through the whole training, to ranks and steps."""

    draw: PairDraw
    """What a pair shows."""
    rank: int
    num_ranks: int
    batch_size: int
    """Pairs of a rank in a step."""

    def pairs(self, step: int) -> list[Pair]:
        """Return each pair of this rank's batch at `step`."""
        return [self.draw.pair(number) for number in self.numbers(step)]

    def numbers(self, step: int) -> range:
        """Return the numbers of the pairs of this rank's batch at `step`."""
        first = (step * self.num_ranks + self.rank) * self.batch_size
        return range(first, first + self.batch_size)

    def num_pairs_before(self, step: int) -> int:
        """Return how many pairs all ranks have consumed before `step`; their numbers are those below it."""
        return step * self.num_ranks * self.batch_size
