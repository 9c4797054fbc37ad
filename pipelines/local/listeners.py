"""The sockets on which processes listen: the real ones, as the system lists them."""

import contextlib
import ipaddress
from dataclasses import dataclass

import psutil

from pipelines.process import ProcessRecord, live_process


@dataclass(frozen=True, order=True)
class Listener:
    """One listening TCP socket."""

    port: int
    address: str
    """IP address it is bound to; an IPv4 address that IPv6 maps is given as IPv4."""
    program: str
    """Name of the process."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        """Return address and port."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def listeners_of(process: psutil.Process) -> list[Listener]:
    """Return what `process` alone listens on, by port; nothing if it ended or belongs to another user."""
    with contextlib.suppress(psutil.Error):
        name = process.name()
        return sorted(
            Listener(one.laddr.port, _unmapped(one.laddr.ip), name)
            for one in process.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        )
    return []


def service_listeners(record: ProcessRecord) -> list[Listener]:
    """Return what a recorded service and its children listen on, by port."""
    process = live_process(record)
    if process is None:
        return []
    family = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    return sorted(one for member in family for one in listeners_of(member))


def _unmapped(text: str) -> str:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
