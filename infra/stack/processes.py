"""Starts services one after the other, each once the one before is ready, and ends them by process id.

Each has a record (process id, start time and ports) and a log. What is ended is recorded, or was started by
what is recorded.
"""

import logging
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from infra.stack.members import MARK, end_all, members
from infra.stack.plan import Service, StackError
from pipelines.local.ports import is_port_taken
from pipelines.local.services import end_with_family
from pipelines.process import live_process, live_record, read_record, record_of, record_path

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300
_POLL_S = 0.5


def start_all(services: Iterable[Service], records: Path, root: Path, variables: Mapping[str, str]) -> None:
    """Start what does not run yet.

    Args:
        services: in the order in which they need each other.
        records: folder of records and logs.
        root: working folder of the processes.
        variables: added to this process's, below each service's own.

    Raises:
        ValueError: a service runs with other ports than the settings have now.
        StackError: a port is taken, or a service ended or was not ready in time; those started before it
            keep running.
    """
    for service in services:
        record = live_record(record_path(records, service.name))
        if record is not None and record.address != service.address:
            raise ValueError(
                f"{service.title} runs with {record.address}, not with {service.address}: run "
                "`make stack-stop` first, or set them as they were"
            )
        reason = None if record is not None else service.why_left_out()
        if reason is not None:
            logger.info("without %s: %s", service.title, reason)
            continue
        if record is None:
            _start(service, records, root, variables)
        _wait(service, records)
        service.complete()
        logger.info("%s is ready", service.title)


def stop_all(names: Sequence[str], records: Path) -> list[str]:
    """End the recorded services, the last first, and all they started; return the names of those that ran."""
    stopped = []
    for name in reversed(names):
        record = read_record(record_path(records, name))
        process = None if record is None else live_process(record)
        if process is not None:
            end_with_family(process)
            stopped.append(name)
    end_all(members(names, records))
    for name in names:
        record_path(records, name).unlink(missing_ok=True)
    return stopped


def running(names: Iterable[str], records: Path) -> list[str]:
    """Return the names of the services whose recorded process lives."""
    return [name for name in names if live_record(record_path(records, name)) is not None]


def log_path(records: Path, name: str) -> Path:
    """Return where a service's output goes."""
    return records / f"{name}.log"


def _start(service: Service, records: Path, root: Path, variables: Mapping[str, str]) -> None:
    for setting, port in service.ports.items():
        if is_port_taken(port):
            raise StackError(
                f"port {port} for {service.title} is taken by another program: "
                f"stop that program, or set {setting} in infra/stack.env or the environment to a free port"
            )
    records.mkdir(parents=True, exist_ok=True)
    service.prepare()
    with log_path(records, service.name).open("wb") as log:
        process = subprocess.Popen(
            [*service.command, *service.late_arguments()],
            # Another user may not be allowed to enter the project.
            cwd=root if service.user is None else "/",
            env={**os.environ, **variables, **service.variables, MARK: str(records)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=service.user,
        )
    # It is meant to outlive this process; without a return code, Popen would warn that it still runs.
    process.returncode = 0
    record = record_of(process.pid, service.address, records)
    record_path(records, service.name).write_text(record.model_dump_json())
    logger.info("starting %s", service.title)


def _wait(service: Service, records: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not service.is_ready():
        has_ended = live_record(record_path(records, service.name)) is None
        if has_ended or time.monotonic() > deadline_s:
            log = log_path(records, service.name)
            lines = log.read_text(errors="replace").strip().splitlines()
            what = "ended at once" if has_ended else f"was not ready within {START_TIMEOUT_S} s"
            raise StackError(f"{service.title} {what} ({lines[-1] if lines else 'no output'}): see {log}")
        time.sleep(_POLL_S)
