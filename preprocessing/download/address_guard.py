"""Refuses connections of this process to addresses that are not public."""

import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedHostError(OSError):
    """Someone tried to connect to an address that is not allowed."""


def guard_connections(allowed_hosts: Iterable[str], only: str | None, report: Callable[[str], None]) -> None:
    """Refuse every connection of this process to an address that is not public, whatever led to it.

    An audit hook sees the very address that is connected to, so that neither a redirect, nor a playlist, nor
    a name that resolves differently the second time gets past it. A hook cannot be removed.

    Args:
        allowed_hosts: names or addresses that are allowed all the same.
        only: the proxy's name or address, beside which nothing is connected to; None where there is none.
        report: called with each refused address.
    """
    allowed = {address for host in allowed_hosts for address in _addresses(host)}
    proxies = set(_addresses(only)) if only is not None else None

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            address = ipaddress.ip_address(arguments[1][0].partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            is_public = address.is_global or address in allowed
            if not (is_public if proxies is None else address in proxies):
                report(str(address))
                raise RefusedHostError(f"{address} is not allowed")

    sys.addaudithook(hook)


def is_refused(host: str, allowed_hosts: Iterable[str]) -> bool:
    """Return whether a host is, or resolves to, an address that is neither public nor allowed.

    For what is fetched through a proxy, whose own connections the guard cannot see.
    """
    allowed = {address for name in allowed_hosts for address in _addresses(name)}
    return any(not address.is_global and address not in allowed for address in _addresses(host))


def _addresses(host: str) -> Iterator[Address]:
    try:
        for *_, address in socket.getaddrinfo(host, None):
            yield ipaddress.ip_address(str(address[0]).partition("%")[0])
    except socket.gaierror:
        logger.warning("%s has no address here", host)
