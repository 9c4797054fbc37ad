"""The guard cannot be removed from a process, so each case has one of its own."""

import json
import socket
import subprocess
import sys

import pytest

from preprocessing.download.address_guard import is_refused

CONNECT = """
import json, socket, sys
from preprocessing.download.address_guard import RefusedHostError, guard_connections
allowed, proxy, target = json.loads(sys.argv[1])
refused = []
guard_connections(allowed, proxy, refused.append)
try:
    socket.create_connection(target, timeout=1).close()
    outcome = "connected"
except RefusedHostError:
    outcome = "refused"
except OSError:
    outcome = "unreachable"
print(json.dumps([outcome, refused]))
"""


@pytest.fixture(scope="module")
def listening():
    """Two private addresses that accept connections, by host."""
    servers = {host: socket.create_server((host, 0)) for host in ("127.0.0.1", "127.0.0.2")}
    yield {host: server.getsockname() for host, server in servers.items()}
    for server in servers.values():
        server.close()


def connect(target, allowed=(), proxy=None):
    """Return the outcome of a connection behind the guard, and the addresses that the guard reported."""
    request = json.dumps([allowed, proxy, target])
    done = subprocess.run(
        [sys.executable, "-c", CONNECT, request], capture_output=True, text=True, check=True
    )
    return tuple(json.loads(done.stdout))


def test_a_private_address_is_refused_and_reported(listening):
    assert connect(listening["127.0.0.1"]) == ("refused", ["127.0.0.1"])


@pytest.mark.parametrize("spelling", ["localhost", "2130706433", "0x7f000001", "::ffff:127.0.0.1"])
def test_another_spelling_of_a_private_address_is_refused_too(listening, spelling):
    assert connect((spelling, listening["127.0.0.1"][1]))[0] == "refused"


def test_an_allowed_private_address_is_connected_to_and_no_other(listening):
    assert connect(listening["127.0.0.1"], allowed=["127.0.0.1"]) == ("connected", [])
    assert connect(listening["127.0.0.2"], allowed=["127.0.0.1"]) == ("refused", ["127.0.0.2"])


def test_with_a_proxy_only_the_proxy_is_connected_to(listening):
    assert connect(listening["127.0.0.2"], proxy="127.0.0.2") == ("connected", [])
    assert connect(listening["127.0.0.1"], allowed=["127.0.0.1"], proxy="127.0.0.2")[0] == "refused"
    assert connect(("192.0.2.1", 80), proxy="127.0.0.2") == ("refused", ["192.0.2.1"])


def test_a_host_is_refused_by_the_address_that_it_resolves_to():
    assert is_refused("localhost", ())
    assert not is_refused("localhost", ("127.0.0.1", "::1"))
    assert not is_refused("9.9.9.9", ())
    assert is_refused("10.0.0.1", ("127.0.0.1",))
