from itertools import pairwise
from pathlib import Path

import pytest

from pipelines.environment import read_environment
from pipelines.local import service_definitions
from pipelines.local.service_definitions import Service, define_services


@pytest.fixture
def services(tmp_path: Path) -> list[Service]:
    (tmp_path / "params.yaml").touch()
    return define_services(read_environment(tmp_path, {}))


def test_every_service_binds_loopback(services: list[Service]) -> None:
    for service in services:
        assert "0.0.0.0" not in service.command
        assert "127.0.0.1" in service.command


def test_a_service_binds_its_configured_ports_and_leaves_every_other_to_the_system(
    services: list[Service],
) -> None:
    for service in services:
        command = service.command
        options = {
            name: int(value)
            for name, value in pairwise(command)
            if name.startswith("--") and name.endswith("port")
        }
        given = sorted([*service.ports.values(), *service.chosen_ports])
        assert sorted(port for port in options.values() if port) == given


def test_no_two_services_share_a_port(services: list[Service]) -> None:
    ports = [port for service in services for port in (*service.ports.values(), *service.chosen_ports)]
    assert len(set(ports)) == len(ports) == 5


def test_a_chosen_port_is_none_that_a_variable_sets(tmp_path: Path, monkeypatch) -> None:
    avoided = []
    monkeypatch.setattr(service_definitions, "choose_free_port", lambda avoid: avoided.append(avoid) or 11111)
    (tmp_path / "params.yaml").touch()
    define_services(read_environment(tmp_path, {"LIA_SERVE_PORT": "12345"}))
    assert avoided == [{8790, 4200, 5000, 6379, 8265, 12345}]


def test_prefects_page_sends_its_requests_to_its_own_server(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    prefect, *_ = define_services(read_environment(tmp_path, {"LIA_PREFECT_PORT": "4321"}))
    assert prefect.variables["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4321/api" == prefect.address
