"""The kernel's scheduling of this process.

As root, the AV1 encoder (SVT-AV1 4.1) turns the thread that opens it into a real-time one, and with it every
thread and process started from there. Such a test process starves whatever else runs on the machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Restore the scheduling policy of this thread after the block."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
