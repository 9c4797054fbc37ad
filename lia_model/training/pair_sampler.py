"""Which pairs of frames a rank trains on at a step.

The pairs are a pure function of (seed, step, rank): any number of ranks shares out one sequence that visits
every clip, and resuming needs nothing but the step.
Axes: N clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class PairSampler:
    """Chooses two different frames of a clip for every pair.

    Pairs are numbered through the whole training. Every epoch visits all clips once, in a new order.
    """

    num_frames: tuple[int, ...]
    """Frames of each clip, all at least 2."""
    seed: int
    rank: int
    num_ranks: int
    batch_size: int
    pairs_per_visit: int = 1
    """Pairs drawn from a clip per visit; divides the batch size."""

    def pairs(self, step: int) -> list[tuple[int, int, int]]:
        """Return (clip, source frame, driving frame) of each pair of this rank's batch at `step`."""
        return [self.pair(number) for number in self.numbers(step)]

    def numbers(self, step: int) -> range:
        """Return the numbers of the pairs of this rank's batch at `step`."""
        first = (step * self.num_ranks + self.rank) * self.batch_size
        return range(first, first + self.batch_size)

    def num_pairs_before(self, step: int) -> int:
        """Return how many pairs all ranks have consumed before `step`; their numbers are those below it."""
        return step * self.num_ranks * self.batch_size

    def pair(self, number: int) -> tuple[int, int, int]:
        """Return (clip, source frame, driving frame) of a pair."""
        epoch, position = divmod(number // self.pairs_per_visit, len(self.num_frames))
        clip = int(visiting_order(self.seed, epoch, len(self.num_frames))[position])
        draw = np.random.Generator(np.random.Philox(key=[self.seed, number], counter=[1, 0, 0, 0]))
        source, driving = draw.choice(self.num_frames[clip], size=2, replace=False)
        return clip, int(source), int(driving)

    def replacement(self, number: int, attempt: int) -> tuple[int, int, int]:
        """Return another pair for `number`, of any clip, where the one before does not decode.

        Args:
            number: of the pair.
            attempt: 1 for the first replacement, 2 for the replacement of that one.
        """
        draw = np.random.Generator(np.random.Philox(key=[self.seed, number], counter=[3, 0, 0, attempt]))
        clip = int(draw.integers(len(self.num_frames)))
        source, driving = draw.choice(self.num_frames[clip], size=2, replace=False)
        return clip, int(source), int(driving)


# Cached, since one order serves all pairs of an epoch; a batch may extend into the next epoch, hence two.
@lru_cache(maxsize=2)
def visiting_order(seed: int, epoch: int, num_clips: int) -> Int64[np.ndarray, " N"]:
    """Return the order in which an epoch visits the clips."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_clips)
    order.flags.writeable = False
    return order
