"""How many CPUs Ray is told that this machine has."""

import os

MIN_LOGICAL_CPUS = 4


def num_logical_cpus() -> int:
    """Return the number of cores, but at least 4.

    On two cores, the share of a Serve replica would otherwise keep a training of two workers from starting.
    """
    return max(MIN_LOGICAL_CPUS, os.cpu_count() or 1)
