"""How functions of tensors are made faster: compiled by Inductor, or recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from lia_model.device.cuda_graph import CudaGraphs, Recorder
from lia_model.settings import Compilation

BatchFunction = Callable[..., Tensor]


def accelerator(compilation: Compilation, device: torch.device) -> Callable[[BatchFunction], BatchFunction]:
    """Return what compiles or records a function of tensors."""
    if compilation == "inductor":
        return torch.compile
    if compilation == "cuda-graphs":
        return Recorder(CudaGraphs(device)).record
    return lambda function: function


def require_compilation(compilation: str, device: torch.device) -> None:
    """Check that `device` supports this kind of compilation.

    Raises:
        ValueError: the kind is unknown, or CUDA graphs are requested without CUDA.
    """
    if compilation not in get_args(Compilation):
        raise ValueError(
            f"got compilation {compilation!r}; allowed are {', '.join(get_args(Compilation))}: choose one"
        )
    if compilation == "cuda-graphs" and device.type != "cuda":
        raise ValueError(
            f"got compilation 'cuda-graphs' on {device}, but it needs CUDA: use 'inductor' or 'none'"
        )
