import os
import socket

import psutil
import pytest

from pipelines.local.listeners import Listener, listeners_of, service_listeners
from pipelines.process import record_of


@pytest.mark.parametrize(("address", "is_loopback"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_socket_is_found_with_the_address_it_is_bound_to(address, is_loopback):
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        (found,) = (one for one in listeners_of(psutil.Process()) if one.port == port)
        assert (found.address, found.is_loopback, str(found)) == (address, is_loopback, f"{address}:{port}")
        assert found in service_listeners(record_of(os.getpid(), "here"))
    assert found not in listeners_of(psutil.Process())


def test_ipv4_that_ipv6_maps_is_ipv4_and_loopback():
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::ffff:127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        (found,) = (one for one in listeners_of(psutil.Process()) if one.port == port)
    assert (found.address, found.is_loopback) == ("127.0.0.1", True)


def test_ipv6_is_written_in_brackets():
    assert str(Listener(8000, "::", "raylet")) == "[::]:8000"
    assert not Listener(8000, "::", "raylet").is_loopback


def test_a_service_that_ended_listens_nowhere():
    record = record_of(os.getpid(), "here")
    with socket.create_server(("127.0.0.1", 0)):
        assert service_listeners(record.model_copy(update={"started_s": record.started_s - 3600})) == []
