import contextlib
import dataclasses
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.environment import Environment, read_environment
from pipelines.local import service_definitions, services
from pipelines.local.listeners import service_listeners
from pipelines.process import read_record
from tests.ports import free_port, free_ports

# Of the Ray client, the dashboard agent, the GCS and the dashboard.
RAY_DEFAULT_PORTS = (10001, 52365, 6379, 8265)


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


def start(service: services.Service, environment: Environment) -> None:
    services._start(service, environment.paths, services._service_variables(environment))


def test_the_error_about_a_service_that_ends_quotes_its_last_line(environment: Environment) -> None:
    service = stand_in("raise SystemExit('no room for me')")
    start(service, environment)
    with pytest.raises(services.ServiceError, match="no room for me"):
        services._wait_until_healthy(service, environment.paths.services)


def test_stopping_ends_the_service_with_its_children(environment: Environment) -> None:
    sleep = "import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}]); {sleep}"
    start(stand_in(parent), environment)
    record = read_record(environment.paths.services / "stand-in.json")
    assert record is not None
    process = psutil.Process(record.pid)
    deadline = time.monotonic() + 10
    while not process.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    family = [process, *process.children()]
    assert len(family) == 2

    assert services.stop_all(environment.paths.services) == ["stand-in"]
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert services.stop_all(environment.paths.services) == []


@pytest.mark.parametrize("name", ["prefect", "ray", "mlflow"])
def test_a_copied_project_neither_uses_nor_stops_the_originals_service(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    service = dataclasses.replace(stand_in("import time; time.sleep(60)"), name=name, address="here:1")
    start(service, environment)
    copy = tmp_path_factory.mktemp("copied") / "copy"
    shutil.copytree(environment.paths.root, copy)
    try:
        copied = read_environment(copy, {})
        assert (copied.prefect_api_url, copied.ray_address) == (None, None)
        own = next(one for one in services.own_services(copied) if one.name == name)
        assert not services._is_running(own, copied.paths.services)
        assert services.stop_all(copied.paths.services) == []
    finally:
        assert services.stop_all(environment.paths.services) == [name]


def test_a_recycled_pid_is_left_alone(environment: Environment) -> None:
    start(stand_in("import time; time.sleep(60)"), environment)
    path = environment.paths.services / "stand-in.json"
    record = read_record(path)
    assert record is not None
    other = psutil.Process(record.pid)
    path.write_text(record.model_copy(update={"started_s": record.started_s - 3600}).model_dump_json())
    assert services.stop_all(environment.paths.services) == []
    assert other.is_running()
    other.kill()
    other.wait()


def test_a_service_that_runs_at_another_port_is_not_waited_for(environment: Environment) -> None:
    start(dataclasses.replace(stand_in("import time; time.sleep(60)"), name="prefect"), environment)
    with pytest.raises(ValueError, match=r"Prefect server runs at nowhere.*`lia stop` first"):
        services.start(read_environment(environment.paths.root, {}), ["prefect"])
    assert services.stop_all(environment.paths.services) == ["prefect"]


def test_a_port_lost_between_check_and_bind_is_named_with_its_variable(environment: Environment) -> None:
    service = stand_in("raise SystemExit('Address already in use')")
    with socket.create_server(("127.0.0.1", free_port())) as holder:
        port = holder.getsockname()[1]
        service = dataclasses.replace(service, ports={"mlflow_port": port})
        start(service, environment)
        with pytest.raises(ValueError, match=rf"port {port} for the stand-in is taken.*LIA_MLFLOW_PORT"):
            services._wait_until_healthy(service, environment.paths.services)


def test_a_service_with_an_address_from_outside_is_not_started(environment: Environment) -> None:
    elsewhere = environment.model_copy(update={"ray_address": "10.0.0.1:6379"})
    assert [one.name for one in services.own_services(elsewhere)] == ["prefect", "mlflow"]


def test_the_address_of_a_database_elsewhere_is_told_without_its_password(
    environment: Environment, caplog
) -> None:
    caplog.set_level("INFO")
    elsewhere = environment.model_copy(update={"mlflow_tracking_uri": "postgresql://me:secret@db/mlflow"})
    assert [one.name for one in services.own_services(elsewhere)] == ["prefect", "ray"]
    assert "MLflow UI: using postgresql://***@db/mlflow; not starting our own" in caplog.text


@pytest.mark.slow
def test_our_own_mlflow_starts_where_its_own_address_is_the_tracking_uri(new_project) -> None:
    project = new_project("own-address")
    url = f"http://127.0.0.1:{project.variables['LIA_MLFLOW_PORT']}"
    project.variables["LIA_MLFLOW_TRACKING_URI"] = url
    assert url in project.run("lia", "up", "mlflow").stdout
    answer = httpx.post(f"{url}/api/2.0/mlflow/experiments/create", json={"name": "made"}, trust_env=False)
    assert answer.status_code == 200, answer.text
    with contextlib.closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        assert ("made",) in store.execute("SELECT name FROM experiments").fetchall()


def test_a_chosen_port_that_another_program_took_is_chosen_again(
    environment: Environment, monkeypatch, caplog
) -> None:
    health, free = free_ports(2)
    serve = (
        "import socket, sys; from http.server import *; held = socket.create_server(('', int(sys.argv[1])));"
        "HTTPServer(('127.0.0.1', int(sys.argv[2])), SimpleHTTPRequestHandler).serve_forever()"
    )
    with socket.create_server(("127.0.0.1", free_port())) as holder:
        taken = holder.getsockname()[1]
        offered = iter([taken, taken, free])

        def define(_: Environment) -> list[services.Service]:
            port = next(offered)
            command = (sys.executable, "-c", serve, str(port), str(health))
            url = f"http://127.0.0.1:{health}/"
            return [services.Service("ray", "stand-in", {}, url, url, url, command, chosen_ports=(port,))]

        monkeypatch.setattr(services, "define_services", define)
        services.start(environment, ["ray"])
        assert caplog.text.count(f"port {taken} was taken by another program") == 2
        assert next(offered, None) is None
        assert services.stop_all(environment.paths.services) == ["ray"]


@pytest.mark.slow
def test_a_ray_head_that_loses_its_chosen_port_starts_with_another(new_project, monkeypatch, caplog) -> None:
    project = new_project("lost-port")
    environment = read_environment(project.root, project.variables)
    with socket.create_server(("", free_port())) as holder:
        taken = holder.getsockname()[1]
        offered = iter([taken, free_port()])
        monkeypatch.setattr(service_definitions, "choose_free_port", lambda avoid: next(offered))
        services.start(environment, ["ray"])
        assert f"port {taken} was taken by another program; starting the Ray head again" in caplog.text
        assert services.stop_all(environment.paths.services) == ["ray"]


@pytest.mark.slow
def test_a_ray_head_starts_beside_programs_that_hold_its_default_ports(new_project) -> None:
    project = new_project("ports")
    with contextlib.ExitStack() as stack:
        for port in RAY_DEFAULT_PORTS:
            with contextlib.suppress(OSError):  # a port that another program holds serves as well
                stack.enter_context(socket.create_server(("", port)))
        project.run("lia", "up", "ray", timeout_s=240)
        project.run("lia", "stop")


# Each prints whether the head let it in.
GCS_CLIENT = """
import sys
from ray._raylet import GcsClient
print(len(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None)) > 0)
"""
RAY_CLIENT = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
print(ray.cluster_resources()["CPU"] > 0)
"""


def connect_as(variables: dict[str, str], code: str, address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, address]
    return subprocess.run(command, env=variables, text=True, capture_output=True, timeout=150, cwd="/")


@pytest.mark.slow
def test_a_ray_head_lets_in_who_has_the_token_and_listens_on_loopback_alone(new_project) -> None:
    project = new_project("token")
    project.run("lia", "up", "ray", timeout_s=240)
    environment = read_environment(project.root, project.variables)
    token = environment.paths.ray_token
    assert stat.S_IMODE(token.stat().st_mode) == 0o600

    record = read_record(environment.paths.services / "ray.json")
    assert record is not None
    listeners = service_listeners(record)
    assert {environment.ray_port, environment.ray_dashboard_port} <= {one.port for one in listeners}
    assert [str(one) for one in listeners if not one.is_loopback] == []

    ours = project.variables | environment.tool_variables()
    theirs = ours | {"RAY_AUTH_MODE": "disabled"}
    wrong = ours | {"RAY_AUTH_TOKEN": "0" * 64}
    jobs = f"http://127.0.0.1:{environment.ray_dashboard_port}/api/jobs/"
    with httpx.Client(trust_env=False) as client:
        assert client.get(jobs).status_code == 401
        assert client.post(jobs, json={"entrypoint": "true"}).status_code == 401
        assert client.get(jobs, headers={"Authorization": "Bearer 0"}).status_code == 403
        bearer = {"Authorization": f"Bearer {token.read_text()}"}
        assert client.get(jobs, headers=bearer).status_code == 200
    ray_client = f"ray://127.0.0.1:{ray_client_port(record.pid)}"
    doors = [(GCS_CLIENT, record.address), (RAY_CLIENT, ray_client)]
    # One by one: a client that waits for its server beside five others on two cores can run out of time.
    for door in doors:
        done = connect_as(ours, *door)
        assert (done.returncode, "True" in done.stdout) == (0, True), done.stderr
    # At the same time, since those who are refused try for half a minute.
    with ThreadPoolExecutor() as pool:
        refused = list(pool.map(lambda one: connect_as(one[0], *one[1]), product([theirs, wrong], doors)))
    assert 0 not in [done.returncode for done in refused]
    project.run("lia", "stop")


def ray_client_port(pid: int) -> int:
    command = psutil.Process(pid).cmdline()
    return int(command[command.index("--ray-client-server-port") + 1])
