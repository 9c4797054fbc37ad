"""The part of a batch that one rank computes.

A batch is a fixed list of micro-batches, consecutive in the numbers of their pairs. Ranks share out the list,
so that the number of ranks changes nothing but the order in which gradients are added.
Axes: B batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Shaped
from torch import Tensor

from lia_model.settings import TrainSettings


@dataclass(frozen=True)
class BatchShare:
    """Consecutive micro-batches of every batch; ranks differ by at most one in their number.

    Raises:
        ValueError: there are more ranks than micro-batches.
    """

    num_micro_batches: int
    """Of all ranks."""
    micro_batch_size: int
    rank: int = 0
    num_ranks: int = 1

    def __post_init__(self) -> None:
        if self.num_ranks > self.num_micro_batches:
            raise ValueError(
                f"got {self.num_ranks} workers and {self.num_micro_batches} micro-batches; every worker "
                "needs at least one: lower train.num_workers or train.micro_batch_size"
            )

    @classmethod
    def of(cls, settings: TrainSettings, rank: int = 0, num_ranks: int = 1) -> BatchShare:
        """Return the share of `rank` among `num_ranks` in the batches of `settings`."""
        num_micro_batches = settings.global_batch_size // settings.micro_batch_size
        return cls(num_micro_batches, settings.micro_batch_size, rank, num_ranks)

    @property
    def factor(self) -> float:
        """Return the factor on a loss with which the ranks' mean gradient is that of all micro-batches."""
        return self.num_ranks / self.num_micro_batches

    def numbers(self, first: int) -> range:
        """Return the numbers of this rank's pairs in the batch that begins with pair `first`."""
        start, end = (self._first_of(rank) for rank in (self.rank, self.rank + 1))
        return range(first + start * self.micro_batch_size, first + end * self.micro_batch_size)

    def split(self, images: Shaped[Tensor, "B ..."]) -> tuple[Shaped[Tensor, "_ ..."], ...]:
        """Return this rank's micro-batches, as views of its `images`."""
        return images.split(self.micro_batch_size)

    def _first_of(self, rank: int) -> int:
        size, num_larger = divmod(self.num_micro_batches, self.num_ranks)
        return rank * size + min(rank, num_larger)
