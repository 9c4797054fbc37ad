"""Starts and stops the project's own services: detached, on loopback, stopped by process id.

Each service has a record (process id and start time) and a log in runs/services/. Starting is idempotent.
Only recorded processes are ever stopped.
"""

import contextlib
import logging
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from pipelines.environment import Environment, variable_name
from pipelines.local.listeners import service_listeners
from pipelines.local.ports import check_ports_free, is_port_taken
from pipelines.local.reports import Row
from pipelines.local.service_definitions import Service, ServiceName, define_services
from pipelines.process import ProcessRecord, live_process, live_record, read_record, record_of, record_path
from pipelines.project_paths import ProjectPaths
from pipelines.ray_token import ensure_ray_token
from preprocessing.correlation import CORRELATION_VARIABLE
from preprocessing.download.credentials import mask_credentials

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 240
_STOP_TIMEOUT_S = 15
_CHILDREN_TIMEOUT_S = 5
_NUM_RESTARTS = 3


class ServiceError(Exception):
    """A service did not start."""


class _ChosenPortLostError(ServiceError):
    """Another program took a port between the moment we chose it and the service's bind."""


def own_services(environment: Environment) -> list[Service]:
    """Return the services of this project, without those for which a LIA_* variable names another address."""
    tracking_uri = environment.mlflow_tracking_uri
    addresses = {
        ServiceName.PREFECT: environment.prefect_api_url,
        ServiceName.MLFLOW: None if tracking_uri.startswith("sqlite:") else tracking_uri,
        ServiceName.RAY: environment.ray_address,
    }
    own = []
    for service in define_services(environment):
        record = live_record(record_path(environment.paths.services, service.name))
        address = addresses[service.name]
        if address in (None, service.address, record and record.address):
            own.append(service)
        else:
            shown = mask_credentials(str(address))
            logger.info("%s: using %s; not starting our own", service.title, shown)
    return own


def start(environment: Environment, names: Sequence[str] = tuple(ServiceName)) -> list[Service]:
    """Start those of the named services that do not run yet, and wait until all of them answer.

    Raises:
        ValueError: another program holds a port, or this project's service runs at another address.
        ServiceError: a service ended or did not answer in time; the message names its log.
    """
    services = [one for one in own_services(environment) if one.name in names]
    folder = environment.paths.services
    running = [one for one in services if _is_running(one, folder)]
    missing = [one for one in services if one not in running]
    for service in missing:
        check_ports_free(service.title, service.ports)
    variables = _service_variables(environment)
    for service in missing:
        _start(service, environment.paths, variables)
    for service in running:
        # Only its own start knows which ports were chosen for it.
        _wait_until_healthy(replace(service, chosen_ports=()), folder)
    for service in missing:
        _wait_or_restart(service, lambda: define_services(environment), environment.paths, variables)
    return services


def stop_all(folder: Path) -> list[str]:
    """Stop every service recorded in `folder`, with its children; return the names of those that ran."""
    stopped = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        process = live_process(record) if record is not None else None
        if process is not None:
            end_with_family(process)
            stopped.append(path.stem)
        path.unlink()
    return stopped


def service_rows(services: Iterable[Service]) -> list[Row]:
    """Return a row of title and URL for each service."""
    return [(one.title, one.url) for one in services]


def _is_running(service: Service, folder: Path) -> bool:
    record = live_record(record_path(folder, service.name))
    if record is not None and record.address != service.address:
        variables = " and ".join(variable_name(field) for field in service.ports)
        raise ValueError(
            f"this project's {service.title} runs at {record.address}, not at {service.address}: "
            f"run `lia stop` first, or set {variables} as when it was started"
        )
    return record is not None


def _log_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def _service_variables(environment: Environment) -> dict[str, str]:
    """Return the variables of a service: this process's, without those that only clients need."""
    client_only = ("PREFECT_API_URL", "RAY_ADDRESS", "RAY_AUTH_TOKEN", CORRELATION_VARIABLE)
    variables = {name: value for name, value in os.environ.items() if name not in client_only}
    own = environment.model_copy(update={"prefect_api_url": None, "ray_address": None})
    return variables | own.tool_variables()


def _start(service: Service, paths: ProjectPaths, variables: Mapping[str, str]) -> None:
    folder = paths.services
    folder.mkdir(parents=True, exist_ok=True)
    paths.ray_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    ensure_ray_token(paths.ray_token)
    with _log_path(folder, service.name).open("wb") as log:
        process = subprocess.Popen(
            service.command,
            cwd=paths.root,
            env={**variables, **service.variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It is meant to outlive this process; without a return code, Popen would warn that it still runs.
    process.returncode = 0
    record = record_of(process.pid, service.address, folder)
    record_path(folder, service.name).write_text(record.model_dump_json())
    logger.info("starting the %s", service.title)


def _wait_or_restart(
    service: Service, define: Callable[[], list[Service]], paths: ProjectPaths, variables: Mapping[str, str]
) -> None:
    """Wait until a service works; while it loses its chosen ports, restart it as `define` has it anew."""
    for _ in range(_NUM_RESTARTS):
        try:
            return _wait_until_healthy(service, paths.services)
        except _ChosenPortLostError as error:
            logger.warning("%s; starting the %s again with another", error, service.title)
            (service,) = (one for one in define() if one.name == service.name)
            _start(service, paths, variables)
    return _wait_until_healthy(service, paths.services)


def _wait_until_healthy(service: Service, folder: Path) -> None:
    """Wait until the service answers and its own processes hold its chosen ports."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        record = live_record(record_path(folder, service.name))
        has_ended = record is None
        if record and _is_answering(service.health) and _holds_ports(record, service.chosen_ports):
            return
        if has_ended:
            # Another program may take a port between our check and the service's bind.
            check_ports_free(service.title, service.ports)
            for port in filter(is_port_taken, service.chosen_ports):
                raise _ChosenPortLostError(f"port {port} was taken by another program")
        if has_ended or time.monotonic() > deadline:
            log = _log_path(folder, service.name)
            lines = log.read_text(errors="replace").strip().splitlines()
            what = "ended at once" if has_ended else f"did not answer within {_START_TIMEOUT_S} s"
            raise ServiceError(
                f"the {service.title} {what} ({lines[-1] if lines else 'no output'}): see {log}"
            )
        time.sleep(0.25)


def _holds_ports(record: ProcessRecord, ports: Iterable[int]) -> bool:
    """Return whether the recorded process and its children listen on all of `ports`."""
    wanted = set(ports)
    return not wanted or wanted <= {one.port for one in service_listeners(record)}


def _is_answering(url: str) -> bool:
    # Loopback must not go through a proxy that the machine may be configured with.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def end_with_family(process: psutil.Process) -> None:
    """Terminate a process, then the children it left behind; kill those that remain.

    psutil refuses to signal a process id that was recycled in the meantime.
    """
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    # The parent first and alone: Ray's head and uvicorn shut their children down in order.
    _signal([process], psutil.Process.terminate)
    psutil.wait_procs([process], timeout=_STOP_TIMEOUT_S)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        _signal(family, send)
        _, family = psutil.wait_procs(family, timeout=_CHILDREN_TIMEOUT_S)


def _signal(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            send(process)
