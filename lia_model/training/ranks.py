"""What the ranks of a data-parallel training tell each other."""

from __future__ import annotations

from typing import TypeVar

import torch

Item = TypeVar("Item")


def of_all_ranks(item: Item) -> list[Item]:
    """Return the `item` of every rank, by rank; every rank calls it at the same steps."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [item]
    gathered: list[Item | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, item)
    return gathered  # pyright: ignore[reportReturnType] - all of them are set


def is_first_rank() -> bool:
    """Return whether this process is rank 0, or alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return True
    return torch.distributed.get_rank() == 0
