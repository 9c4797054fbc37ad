import dataclasses
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.environment import Environment, read_environment
from pipelines.local import services
from pipelines.process import read_record


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "params.yaml").touch()
    return read_environment(tmp_path, {})


def stand_in(code: str) -> services.Service:
    """Return a service that runs `code` and never answers."""
    return services.Service(
        name="stand-in",
        title="stand-in",
        ports={},
        address="nowhere",
        url="nowhere",
        health="http://127.0.0.1:9/",
        command=(sys.executable, "-c", code),
    )


def test_a_taken_port_is_named_with_the_variable_that_moves_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port} for the Prefect server.*LIA_PREFECT_PORT"):
            services.check_ports_free("Prefect server", {"prefect_port": port})


def test_a_service_that_dies_is_told_with_its_last_words(environment: Environment) -> None:
    service = stand_in("raise SystemExit('no room for me')")
    services._start(service, environment)
    with pytest.raises(services.ServiceError, match="no room for me"):
        services._wait_until_healthy(service, environment)


def test_stopping_ends_the_service_with_its_children(environment: Environment) -> None:
    sleep = "import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}]); {sleep}"
    services._start(stand_in(parent), environment)
    record = read_record(environment.services / "stand-in.json")
    assert record is not None
    process = psutil.Process(record.pid)
    deadline = time.monotonic() + 10
    while not process.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    family = [process, *process.children()]
    assert len(family) == 2

    assert services.stop_all(environment) == ["stand-in"]
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert services.stop_all(environment) == []


def test_a_recycled_pid_is_left_alone(environment: Environment) -> None:
    services._start(stand_in("import time; time.sleep(60)"), environment)
    path = environment.services / "stand-in.json"
    record = read_record(path)
    assert record is not None
    other = psutil.Process(record.pid)
    path.write_text(record.model_copy(update={"started_s": record.started_s - 3600}).model_dump_json())
    assert services.stop_all(environment) == []
    assert other.is_running()
    other.kill()
    other.wait()


def test_a_service_that_runs_at_another_port_is_not_waited_for(environment: Environment) -> None:
    services._start(dataclasses.replace(stand_in("import time; time.sleep(60)"), name="prefect"), environment)
    with pytest.raises(ValueError, match=r"Prefect server runs at nowhere.*`lia stop` first"):
        services.start(read_environment(environment.root, {}), ["prefect"])
    assert services.stop_all(environment) == ["prefect"]


def test_an_address_given_from_outside_starts_nothing_of_ours(environment: Environment) -> None:
    elsewhere = environment.model_copy(update={"ray_address": "10.0.0.1:6379"})
    assert [one.name for one in services.own_services(elsewhere)] == ["prefect", "mlflow"]


def test_every_service_binds_loopback(environment: Environment) -> None:
    for service in services.own_services(environment):
        assert "0.0.0.0" not in service.command
        assert "127.0.0.1" in service.command
