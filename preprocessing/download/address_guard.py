"""Blocks connections of this process to addresses that are not public."""

import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedHostError(OSError):
    """A connection to an address that is not allowed was attempted."""


def guard_connections(
    allowed_hosts: Iterable[str], proxy: str | None, on_refused: Callable[[str], None]
) -> None:
    """Block all connections of this process to addresses that are not public; this cannot be undone.

    An audit hook sees the address of each connection, so redirects, playlists and names that resolve
    differently the second time are covered.

    Args:
        allowed_hosts: names or addresses that are allowed although they are private.
        proxy: name or address of a proxy, then the only address allowed; None without one.
        on_refused: called with each blocked address.
    """
    allowed = {address for host in allowed_hosts for address in _addresses(host)}
    proxies = None if proxy is None else set(_addresses(proxy))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            address = ipaddress.ip_address(arguments[1][0].partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            is_public = address.is_global or address in allowed
            if not (is_public if proxies is None else address in proxies):
                on_refused(str(address))
                raise RefusedHostError(f"{address} is not allowed")

    sys.addaudithook(hook)


def is_refused(host: str, allowed_hosts: Iterable[str]) -> bool:
    """Return whether a host is, or resolves to, an address that is neither public nor allowed.

    For downloads through a proxy, whose connections `guard_connections` cannot see.
    """
    allowed = {address for name in allowed_hosts for address in _addresses(name)}
    return any(not address.is_global and address not in allowed for address in _addresses(host))


def _addresses(host: str) -> Iterator[Address]:
    try:
        for *_, address in socket.getaddrinfo(host, None):
            yield ipaddress.ip_address(str(address[0]).partition("%")[0])
    except socket.gaierror:
        logger.warning("%s: the name does not resolve", host)
