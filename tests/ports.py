"""Ports for servers that tests start: free, all different, and outside the system's ephemeral range.

Test processes that run side by side use separate slices of the range, and no process returns a port twice.
"""

import os
from collections.abc import Iterator

from pipelines.local.ports import first_ephemeral, is_port_taken

_FIRST = 10_000


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that no program uses."""
    return [next(_PORTS) for _ in range(count)]


def free_port() -> int:
    """Return a port that no program uses."""
    return next(_PORTS)


def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    num_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = (first_ephemeral() - _FIRST) // num_workers
    # Where to start depends on the process, since several test runs may share a machine.
    start = os.getpid() * 101
    for step in range(size):
        port = _FIRST + worker * size + (start + step) % size
        if not is_port_taken(port):
            yield port


_PORTS = _ports()
