import socket

import pytest

from pipelines.local.ports import check_ports_free, choose_free_port, first_ephemeral, is_port_taken
from tests.ports import free_port, free_ports


def test_a_taken_port_is_named_with_the_variable_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as holder:
        port = holder.getsockname()[1]
        assert is_port_taken(port)
        with pytest.raises(ValueError, match=rf"port {port} for the Prefect server.*LIA_PREFECT_PORT"):
            check_ports_free("Prefect server", {"prefect_port": port})
    assert not is_port_taken(port)
    check_ports_free("Prefect server", {"prefect_port": port})


def test_ports_for_tests_differ_are_free_and_lie_below_the_systems_own() -> None:
    ports = free_ports(500)
    assert len(set(ports)) == 500
    assert max(ports) < first_ephemeral()
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


def test_a_chosen_port_is_free_outside_the_ephemeral_range_and_none_of_those_to_avoid() -> None:
    every = range(10_000, first_ephemeral())
    left = free_port()
    assert choose_free_port(set(every) - {left}) == left
    with socket.create_server(("", left)), pytest.raises(StopIteration):
        choose_free_port(set(every) - {left})
