"""The arithmetic of the networks, and what a precision means on a device.

CUDA libraries can round the factors of float32 products to TF32, whose fraction has 10 bits instead of 23. In
convolutions torch does so by default, and latent codes are off by up to 1e-3. This module alone decides it,
by torch's newer settings alone: torch refuses to read the older ones (`allow_tf32`) where the two differ.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

import torch

from lia_model.settings import Precision

ResolvedPrecision = Literal["fp32", "tf32", "bf16", "fp16"]
DTYPES: dict[ResolvedPrecision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

logger = logging.getLogger(__name__)


def resolve_precision(precision: Precision, device: torch.device) -> ResolvedPrecision:
    """Return the precision; `auto` becomes bf16 if `device` supports it natively, else fp32.

    Where `device` has no TF32, `tf32` becomes fp32, with a warning.
    """
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    if precision == "tf32" and not is_ampere(device):
        logger.warning("tf32 needs an NVIDIA GPU of the Ampere generation or later; %s computes fp32", device)
        return "fp32"
    return precision


def has_native_bf16(device: torch.device) -> bool:
    """Return whether `device` multiplies bf16 in hardware: AVX512-BF16 CPUs, Ampere or newer GPUs."""
    return is_ampere(device) or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())


def is_ampere(device: torch.device) -> bool:
    """Return whether `device` is an NVIDIA GPU of the Ampere generation or later, with bf16 and TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


class _Float32Products:
    """Torch's settings, which are the process's; several users may need them at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_users = {"ieee": 0, "tf32": 0}
        self._found: list[str] = []

    @contextmanager
    def use(self, kind: Literal["ieee", "tf32"]) -> Iterator[None]:
        self._change(kind, 1)
        try:
            yield
        finally:
            self._change(kind, -1)

    def _change(self, kind: str, by: int) -> None:
        with self._lock:
            if not any(self._num_users.values()):
                self._found = [each.fp32_precision for each in _operations()]
            self._num_users[kind] += by
            chosen = self._found
            if any(self._num_users.values()):
                chosen = ["ieee" if self._num_users["ieee"] else "tf32"] * len(self._found)
            for operation, value in zip(_operations(), chosen, strict=True):
                operation.fp32_precision = value


def _operations() -> list:
    """Return the holders of torch's settings; unlike recurrent networks, we use the first two only.

    Set alike, all three can still be read as one.
    """
    cudnn = torch.backends.cudnn
    return [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]  # pyright: ignore[reportAttributeAccessIssue]


_products = _Float32Products()


@contextmanager
def float32_products(precision: ResolvedPrecision) -> Iterator[None]:
    """Multiply float32 exactly inside, or at `tf32` by TF32, on CUDA; afterwards as before.

    The setting is the process's, so the strictest of all that are inside at a time decides for all of them.
    bf16 and fp16 say nothing about float32 and leave it exact.
    """
    with _products.use("tf32" if precision == "tf32" else "ieee"):
        yield
