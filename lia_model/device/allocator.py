"""Makes glibc keep freed memory in the process, so that feature maps reuse it.

By default glibc maps every large block from the system and unmaps it when it is freed, so that each layer's
output costs thousands of page faults: a quarter of a CPU's time at 256 px and batch 8.
"""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next allocation of this process; peak memory does not grow.

    Call it at program start, before threads allocate.

    Returns:
        Whether it took effect; it does so on glibc only.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena: those of other threads are too small for feature maps, which would bypass them.
    settings = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, LARGE_BYTES))
    return all(mallopt(number, value) for number, value in settings)
