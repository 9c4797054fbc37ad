"""Processes this project started and left running: who they are, and whether they still live.

A pid alone can be recycled by the system, so a record also holds the process's start time; both must match
before a process counts as ours, and only then is it ever signalled.
"""

from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

_START_TOLERANCE_S = 2.0


class ProcessRecord(BaseModel):
    """One started service, as written to `runs/services/<name>.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    """Process id of the service's main process, leader of its own process group."""
    started_s: float
    """Start time of that process, seconds since the epoch."""
    address: str
    """Where clients reach the service: a URL, or host:port for Ray."""


def record_of(pid: int, address: str) -> ProcessRecord:
    """Describe the running process `pid`, reachable at `address`."""
    return ProcessRecord(pid=pid, started_s=psutil.Process(pid).create_time(), address=address)


def record_path(services: Path, name: str) -> Path:
    """Return where the folder `services` holds the record of the service `name`."""
    return services / f"{name}.json"


def read_record(path: Path) -> ProcessRecord | None:
    """Return what `path` records, or None if nothing was recorded there."""
    if not path.is_file():
        return None
    return ProcessRecord.model_validate_json(path.read_text())


def live_process(record: ProcessRecord) -> psutil.Process | None:
    """Return the recorded process, or None if it ended or its pid now belongs to another."""
    try:
        process = psutil.Process(record.pid)
        is_same = abs(process.create_time() - record.started_s) < _START_TOLERANCE_S
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def live_record(path: Path) -> ProcessRecord | None:
    """Return the record at `path` if its process still runs, else None."""
    record = read_record(path)
    return record if record is not None and live_process(record) is not None else None
