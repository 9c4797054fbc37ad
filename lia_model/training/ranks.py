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
