"""How functions of tensors are made faster: compiled by Inductor, or recorded as CUDA graphs."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

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


def require_compiler(device: torch.device) -> None:
    """Check that this machine has what Inductor's programs for `device` are built with.

    Raises:
        ValueError: something is missing.
    """
    variable, compilers = ("CXX", ("g++",)) if device.type == "cpu" else ("CC", ("gcc", "clang"))
    named = os.environ.get(variable)
    missing = []
    if not any(map(shutil.which, (named,) if named else compilers)):
        missing.append(f"the compiler {named or ' or '.join(compilers)}")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python's headers")
    if missing:
        raise ValueError(
            f"got train.compile true on a machine that lacks {' and '.join(missing)}: install that (Debian: "
            f"build-essential and python3-dev), name a compiler in {variable}, or set train.compile: false"
        )


def compile_networks(*networks: nn.Module) -> None:
    """Let each network be compiled, in place, when it is called first with images of some shape."""
    for network in networks:
        network.compile(dynamic=False)


def not_compiled() -> AbstractContextManager[object]:
    """Return a context in which compiled networks run as plain PyTorch, as second derivatives need."""
    return torch.compiler.set_stance("force_eager")
