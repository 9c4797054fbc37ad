"""Processes this project started and left running: who they are, and whether they still live.

A pid alone can be recycled by the system, so a record also holds the process's start time; both must match
before a process counts as ours, and only then is it ever signalled.
"""

import logging
from functools import cache
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

logger = logging.getLogger(__name__)

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
    folder: Path | None = None
    """Where the record was written, absolute; tells a copied project that the service is not its own. None in
    records of older versions."""


def record_of(pid: int, address: str, folder: Path | None = None) -> ProcessRecord:
    """Describe the running process `pid`, reachable at `address`, for a record in `folder`."""
    started_s = psutil.Process(pid).create_time()
    return ProcessRecord(pid=pid, started_s=started_s, address=address, folder=folder and folder.resolve())


def record_path(services: Path, name: str) -> Path:
    """Return where the folder `services` holds the record of the service `name`."""
    return services / f"{name}.json"


def read_record(path: Path) -> ProcessRecord | None:
    """Return what `path` records, or None if nothing was recorded there, or in another project's folder.

    The latter is found in a copied or moved project, and logged once.
    """
    if not path.is_file():
        return None
    record = ProcessRecord.model_validate_json(path.read_text())
    if record.folder not in (None, path.parent.resolve()):
        _warn_of_foreign(path, record.pid, record.folder)
        return None
    return record


@cache
def _warn_of_foreign(path: Path, pid: int, folder: Path | None) -> None:
    logger.warning(
        "%s is ignored: its process %d was started by another project, recorded in %s", path, pid, folder
    )


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
