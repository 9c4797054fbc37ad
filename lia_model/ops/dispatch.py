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
_warned: set[tuple[str, str]] = set()


@contextmanager
def use(impl: Impl) -> Iterator[None]:
    """Make `auto` mean `impl` in every op called inside, in all threads.

    Raises:
        ValueError: `impl` is unknown.
    """
    global _auto_means
    before = _auto_means
    _auto_means = _known(impl)
    try:
        yield
    finally:
        _auto_means = before


def takes_fused(op: str, x: Tensor, impl: Impl) -> bool:
    """Return whether the op named `op` runs its fused kernel on `x`.

    `auto` uses it on CUDA if Triton is importable and the type is supported; otherwise it warns, once, and
    uses the reference. On the CPU it uses the reference without a warning.

    Raises:
        ValueError: `impl` is unknown, or it is `fused` and a requirement is missing.
    """
    return _decide(op, x.device.type, x.dtype, _auto_means if impl == "auto" else impl)


def _decide(op: str, device: str, dtype: torch.dtype, impl: Impl) -> bool:
    if _known(impl) == "reference" or (impl == "auto" and device != "cuda"):
        return False
    missing = _missing(device, dtype)
    if missing is None:
        return True
    if impl == "fused":
        raise ValueError(f"{op} got impl='fused', but {missing}: change that, or use 'auto'")
    if (op, missing) not in _warned:
        _warned.add((op, missing))
        logger.warning("%s runs as plain PyTorch, slower than its fused kernel: %s", op, missing)
    return False


# torch.compile cannot trace this function, and may treat its result as a constant, which it is. The attribute
# is what torch.compiler.assume_constant_result sets; calling that here would import the whole compiler.
_decide._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def _missing(device: str, dtype: torch.dtype) -> str | None:
    """Return the requirement of fused kernels that is missing, or None."""
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
        raise ValueError(f"impl is {impl!r}; allowed are 'auto', 'reference' and 'fused': choose one")
    return impl
