"""Sums in a fixed order on a GPU, where torch otherwise adds in the order in which threads finish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Cublas repeats its results only with workspaces of a fixed size; torch reads this before the first product.
_WORKSPACES = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic_algorithms(is_wanted: bool) -> Iterator[None]:
    """Let torch take deterministic algorithms alone inside, if `is_wanted`; afterwards as before.

    The warp kernel, too, follows torch's setting, which is the process's.

    Raises:
        RuntimeError: inside, by an operation that has no deterministic algorithm.
    """
    if not is_wanted:
        yield
        return
    os.environ.setdefault(*_WORKSPACES)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
