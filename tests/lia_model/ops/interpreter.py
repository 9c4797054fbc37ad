"""Whether Triton's interpreter, which runs kernels on CPU tensors, works with the installed versions."""

from importlib.metadata import version

import pytest
import torch

ON_GPU = torch.cuda.is_available()


def _at_least(package, *wanted):
    return tuple(map(int, version(package).split(".")[:2])) >= wanted


FITS = _at_least("triton", 3, 7) or not _at_least("numpy", 2, 4)
WHY_NOT = "Triton's interpreter needs triton 3.7 or later, or numpy before 2.4"
needs_interpreter = pytest.mark.skipif(not FITS, reason=WHY_NOT)
