"""The mark of tests that only a GPU can run."""

from collections.abc import Callable

import pytest
import torch


def needs_gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Run `test` with `pytest -m gpu` on a machine with a CUDA device only."""
    without = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    return pytest.mark.gpu(without(test))
