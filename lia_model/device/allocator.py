"""Makes glibc keep freed memory in the process, so that feature maps reuse it, and now and then return it.

By default glibc maps every large block from the system and unmaps it when it is freed, so that each layer's
output costs thousands of page faults: a quarter of a CPU's time at 256 px and batch 8. Kept memory fragments:
between blocks that live long, holes are left that fit nothing, more of them the longer a video is.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

# Numbers of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next allocation of this process.

    Call it at program start, before threads allocate. A program that runs for long also calls
    `return_freed_memory` from time to time, or its memory grows slowly.

    Returns:
        Whether it took effect; it does so on glibc only.
    """
    mallopt = _glibc_function("mallopt")
    if mallopt is None:
        return False
    # One arena: those of other threads are too small for feature maps, which would bypass them.
    settings = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, LARGE_BYTES))
    return all(mallopt(number, value) for number, value in settings)


def return_freed_memory() -> None:
    """Return the pages of all freed blocks to the system, those between blocks in use too.

    It takes milliseconds, and the next allocations as many page faults as pages were returned. Without glibc
    it does nothing.
    """
    malloc_trim = _glibc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _glibc_function(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
