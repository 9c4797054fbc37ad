"""Which ports are free on this machine."""

import random
import socket
from collections.abc import Collection
from pathlib import Path

from pipelines.environment import variable_name

_FIRST_CHOSEN = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_EPHEMERAL = 32_768


def first_ephemeral() -> int:
    """Return the lowest port that the system hands out to programs that ask for any."""
    if _EPHEMERAL_RANGE.is_file():
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    # macOS starts higher, at 49152.
    return _LOWEST_EPHEMERAL


def choose_free_port(avoid: Collection[int]) -> int:
    """Return a random free port below the ephemeral range that is not in `avoid`.

    From the ephemeral range, the system could hand it to another program before it is bound.
    """
    candidates = set(range(_FIRST_CHOSEN, first_ephemeral())) - set(avoid)
    shuffled = random.sample(sorted(candidates), len(candidates))
    return next(port for port in shuffled if not is_port_taken(port))


def is_port_taken(port: int) -> bool:
    """Return whether a program on this machine holds `port`, on loopback or every interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def check_ports_free(title: str, ports: dict[str, int]) -> None:
    """Check that no program listens on `ports`, given by the field of `Environment` that sets each.

    Raises:
        ValueError: a port is taken.
    """
    for field, port in ports.items():
        if is_port_taken(port):
            raise ValueError(
                f"port {port} for the {title} is taken by another program: "
                f"stop that program, or set {variable_name(field)} to a free port"
            )
