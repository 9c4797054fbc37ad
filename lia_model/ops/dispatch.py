"""Which implementation of an op runs: plain PyTorch, or a fused Triton kernel."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Impl = Literal["auto", "reference", "fused"]
FUSED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

logger = logging.getLogger(__name__)
_auto_means: Impl = "auto"
_told: set[tuple[str, str]] = set()


@contextmanager
def use(impl: Impl) -> Iterator[None]:
    """Make `auto` mean `impl` in every op called inside, in all threads.

    Raises:
        ValueError: there is no such implementation.
    """
    global _auto_means
    before = _auto_means
    _auto_means = _known(impl)
    try:
        yield
    finally:
        _auto_means = before


def takes_fused(op: str, x: Tensor, impl: Impl) -> bool:
    """Tell whether the op named `op` runs its fused kernel on `x`.

    `auto` takes it on CUDA, where Triton is importable and the type supported, and warns once where it would
    but cannot. On the CPU it takes the reference without a word.

    Raises:
        ValueError: `impl` is unknown, or it is `fused` and something is missing for that.
    """
    return _decide(op, x.device.type, x.dtype, _auto_means if impl == "auto" else impl)


def _decide(op: str, device: str, dtype: torch.dtype, impl: Impl) -> bool:
    if _known(impl) == "reference" or (impl == "auto" and device != "cuda"):
        return False
    missing = _missing(device, dtype)
    if missing is None:
        return True
    if impl == "fused":
        raise ValueError(f"{op} got impl='fused', but {missing}: change that, or ask for 'auto'")
    if (op, missing) not in _told:
        _told.add((op, missing))
        logger.warning("%s runs as plain PyTorch, slower than its fused kernel: %s", op, missing)
    return False


# torch.compile takes the answer for a constant, which it is: it could not look inside. The mark is what
# torch.compiler.assume_constant_result sets, which would import the whole compiler here.
_decide._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def _missing(device: str, dtype: torch.dtype) -> str | None:
    """Return what keeps the fused kernels from running, None where nothing does."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if dtype not in FUSED_DTYPES:
        return f"its kernel takes float32, bfloat16 and float16, not {str(dtype).removeprefix('torch.')}"
    if device != "cuda":
        # Imported here because the core must run without Triton.
        from lia_model.ops.kernels import INTERPRETED

        if not INTERPRETED:
            return f"kernels run on CUDA (or under TRITON_INTERPRET=1), not on {device}"
    return None


def _known(impl: Impl) -> Impl:
    if impl not in get_args(Impl):
        raise ValueError(f"impl is {impl!r}; it is 'auto', 'reference' or 'fused': choose one")
    return impl
