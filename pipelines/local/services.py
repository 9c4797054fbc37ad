"""The project's own Prefect server, MLflow UI and Ray head: detached, on loopback, stopped by process id.

Each service has a record (pid and start time) and a log in runs/services/. Starting is idempotent; a port
that another program holds is an error that names the variable to change. Nothing here stops a process it did
not start.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.environment import Environment, variable_name
from pipelines.process import live_process, live_record, read_record, record_of

logger = logging.getLogger(__name__)

NAMES = ("prefect", "mlflow", "ray")
_START_TIMEOUT_S = 240
_STOP_TIMEOUT_S = 15
_CHILDREN_TIMEOUT_S = 5
_LEAST_RAY_CPUS = 4


class ServiceError(Exception):
    """A service did not come up."""


@dataclass(frozen=True)
class Service:
    """How one service is started and recognised."""

    name: str
    """Short name; its record and log are called after it."""
    title: str
    """What the operator reads."""
    ports: dict[str, int]
    """Fixed ports it binds, by the field of `Environment` that sets each."""
    address: str
    """What clients connect to."""
    url: str
    """Page to open in a browser."""
    health: str
    """URL that answers 200 once the service works."""
    command: tuple[str, ...]
    """Program and arguments, in the foreground."""


def own_services(environment: Environment) -> list[Service]:
    """Return the services of this project, leaving out those that a variable points elsewhere."""
    local = {
        "prefect": environment.prefect_api_url,
        "mlflow": None
        if environment.mlflow_tracking_uri.startswith("sqlite:")
        else environment.mlflow_tracking_uri,
        "ray": environment.ray_address,
    }
    own = []
    for service in (_prefect(environment), _mlflow(environment), _ray(environment)):
        record = live_record(_record_path(environment, service.name))
        if local[service.name] in (None, service.address, record and record.address):
            own.append(service)
        else:
            logger.info("%s: using %s, starting none of our own", service.title, local[service.name])
    return own


def start(environment: Environment, names: Sequence[str] = NAMES) -> list[Service]:
    """Start those of the named services that do not run yet and wait until all of them answer.

    Raises:
        ValueError: a port belongs to another program, or a service of ours runs at another one.
        ServiceError: a service ended or did not answer in time; its log is named.
    """
    services = [one for one in own_services(environment) if one.name in names]
    missing = [one for one in services if not _is_running(one, environment)]
    for service in missing:
        check_ports_free(service.title, service.ports)
    for service in missing:
        _start(service, environment)
    for service in services:
        _wait_until_healthy(service, environment)
    return services


def stop_all(environment: Environment) -> list[str]:
    """End every recorded service with its children; return the names of those that still ran."""
    stopped = []
    for path in sorted(environment.services.glob("*.json")):
        record = read_record(path)
        process = live_process(record) if record is not None else None
        if process is not None:
            _end(process)
            stopped.append(path.stem)
        path.unlink()
    return stopped


def check_ports_free(title: str, ports: dict[str, int]) -> None:
    """Make sure that nobody listens on `ports`, given by the field of `Environment` that sets each.

    Raises:
        ValueError: somebody does.
    """
    for field, port in ports.items():
        if is_port_taken(port):
            raise ValueError(
                f"port {port} for the {title} is taken by another program: "
                f"stop that program, or set {variable_name(field)} to a free port"
            )


def is_port_taken(port: int) -> bool:
    """Say whether something on loopback holds `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def as_lines(services: Iterable[Service]) -> str:
    """Lay out names and URLs for a terminal."""
    return "\n".join(f"{one.title:<15}{one.url}" for one in services)


def as_json(services: Iterable[Service]) -> str:
    """Give names and URLs as one JSON object."""
    return json.dumps({one.name: {"url": one.url, "address": one.address} for one in services})


def _prefect(environment: Environment) -> Service:
    url = f"http://{environment.host}:{environment.prefect_port}"
    return Service(
        name="prefect",
        title="Prefect server",
        ports={"prefect_port": environment.prefect_port},
        address=f"{url}/api",
        url=url,
        health=f"{url}/api/health",
        command=(
            *_script("prefect"), "server", "start",
            "--host", environment.host, "--port", str(environment.prefect_port),
        ),
    )  # fmt: skip


def _mlflow(environment: Environment) -> Service:
    url = f"http://{environment.host}:{environment.mlflow_port}"
    return Service(
        name="mlflow",
        title="MLflow UI",
        ports={"mlflow_port": environment.mlflow_port},
        address=url,
        url=url,
        health=f"{url}/health",
        command=(
            *_script("mlflow"), "ui",
            "--host", environment.host, "--port", str(environment.mlflow_port), "--workers", "1",
            "--backend-store-uri", environment.mlflow_tracking_uri,
            "--artifacts-destination", str(environment.artifacts),
        ),
    )  # fmt: skip


def _ray(environment: Environment) -> Service:
    url = f"http://{environment.host}:{environment.ray_dashboard_port}"
    # Ray's other ports have fixed defaults, over which two projects on one machine would fight.
    free = [str(port) for port in _free_ports(5)]
    return Service(
        name="ray",
        title="Ray head",
        ports={"ray_port": environment.ray_port, "ray_dashboard_port": environment.ray_dashboard_port},
        address=f"{environment.host}:{environment.ray_port}",
        url=url,
        health=f"{url}/api/version",
        command=(
            *_script("ray"), "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address", environment.host, "--port", str(environment.ray_port),
            # Logical CPUs: a Serve replica beside a two-worker training must not starve it on two cores.
            "--num-cpus", str(max(_LEAST_RAY_CPUS, os.cpu_count() or 1)),
            "--dashboard-host", environment.host, "--dashboard-port", str(environment.ray_dashboard_port),
            "--dashboard-agent-listen-port", free[0], "--dashboard-agent-grpc-port", free[1],
            "--runtime-env-agent-port", free[2], "--metrics-export-port", free[3],
            "--ray-client-server-port", free[4],
            # 0 lets the system choose: the default range would hold any port that a variable names in it.
            "--min-worker-port", "0", "--max-worker-port", "0",
            "--temp-dir", str(environment.ray_home),
        ),
    )  # fmt: skip


def _script(name: str) -> tuple[str, ...]:
    """Return how to run a console script of this very environment, whatever PATH says."""
    return (sys.executable, str(Path(sys.executable).parent / name))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _is_running(service: Service, environment: Environment) -> bool:
    record = live_record(_record_path(environment, service.name))
    if record is not None and record.address != service.address:
        variables = " and ".join(variable_name(field) for field in service.ports)
        raise ValueError(
            f"this project's {service.title} runs at {record.address}, not at {service.address}: "
            f"`lia stop` first, or set {variables} as it was started"
        )
    return record is not None


def _record_path(environment: Environment, name: str) -> Path:
    return environment.services / f"{name}.json"


def _log_path(environment: Environment, name: str) -> Path:
    return environment.services / f"{name}.log"


def _start(service: Service, environment: Environment) -> None:
    environment.services.mkdir(parents=True, exist_ok=True)
    environment.ray_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = {
        name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "RAY_ADDRESS")
    }
    own = environment.model_copy(update={"prefect_api_url": None, "ray_address": None}).tool_variables()
    with _log_path(environment, service.name).open("wb") as log:
        process = subprocess.Popen(
            service.command,
            cwd=environment.root,
            env={**variables, **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It outlives this process on purpose; Popen would warn of a child nobody waited for.
    process.returncode = 0
    record = record_of(process.pid, service.address)
    _record_path(environment, service.name).write_text(record.model_dump_json())
    logger.info("starting the %s", service.title)


def _wait_until_healthy(service: Service, environment: Environment) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _is_answering(service.health):
        is_gone = live_record(_record_path(environment, service.name)) is None
        if is_gone or time.monotonic() > deadline:
            log = _log_path(environment, service.name)
            lines = log.read_text(errors="replace").strip().splitlines()
            what = "ended at once" if is_gone else f"did not answer within {_START_TIMEOUT_S} s"
            raise ServiceError(
                f"the {service.title} {what} ({lines[-1] if lines else 'no output'}): see {log}"
            )
        time.sleep(0.25)


def _is_answering(url: str) -> bool:
    # Loopback must not go through a proxy that the machine may be set up with.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _end(process: psutil.Process) -> None:
    """Ask a process to end, then what it left of its children; kill what remains.

    psutil refuses to signal a pid that was recycled in the meantime.
    """
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    # The parent first and alone: Ray's head and uvicorn end their children in good order themselves.
    _signal([process], psutil.Process.terminate)
    psutil.wait_procs([process], timeout=_STOP_TIMEOUT_S)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        _signal(family, send)
        _, family = psutil.wait_procs(family, timeout=_CHILDREN_TIMEOUT_S)


def _signal(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            send(process)
