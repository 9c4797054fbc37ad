"""A lease on a folder's work: a file that says which process does it, renewed while that process lives."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from preprocessing.background import in_background

RENEWAL_INTERVAL_S = 30.0
STALE_AFTER_S = 300.0
"""A lease that was not renewed for so long belongs to a process that is gone or stands still."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """The process that holds a lease."""

    token: str
    host: str
    machine: str
    """Tells processes apart whose numbers belong together: a boot of a machine, and a container in it."""
    pid: int
    started_ticks: str
    """When the process started, as the kernel counts; another process may get its number."""
    since: str
    """When it took the lease, UTC."""

    @classmethod
    def here(cls) -> Owner:
        """Return this process as an owner from now on."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), _machine(), pid, _started_ticks(pid), since)

    def is_gone(self) -> bool:
        """Return whether the process is known to have ended; False for one of another machine."""
        return self.machine == _machine() and _started_ticks(self.pid) != self.started_ticks


@contextmanager
def held_lease(path: Path, what: str) -> Iterator[None]:
    """Hold the lease at `path` inside the block; a lease whose process is gone is taken over.

    Args:
        path: of the lease's file, on a file system that all candidates share.
        what: names the work in the error, such as `the run train-0123`.

    Raises:
        ValueError: another process holds it; the message says who, since when and what to do.
    """
    owner = Owner.here()
    with _guarded(path) as now_s:
        holder = _read(path)
        if holder is not None and not holder.is_gone() and now_s - path.stat().st_mtime < STALE_AFTER_S:
            raise ValueError(
                f"{what} is held by process {holder.pid} on {holder.host} since {holder.since} UTC; one "
                f"process at a time may work on it: wait for it or stop it, or, if it is gone, remove {path}"
            )
        if holder is not None:
            log.warning("process %d on %s, which held %s, is gone", holder.pid, holder.host, what)
        path.write_text(json.dumps(asdict(owner), indent=1) + "\n")
    try:
        with in_background(partial(_renew, path, owner, what), "lease"):
            yield
    finally:
        with _guarded(path):
            if _read(path) == owner:
                path.unlink()


def is_held(path: Path) -> bool:
    """Return whether a process, as far as is known, holds the lease at `path`."""
    holder = _read(path)
    if holder is None or holder.is_gone():
        return False
    with _guarded(path) as now_s:
        return path.is_file() and now_s - path.stat().st_mtime < STALE_AFTER_S


def _renew(path: Path, owner: Owner, what: str, stop: threading.Event) -> None:
    while not stop.wait(RENEWAL_INTERVAL_S):
        if _read(path) != owner:
            log.error("the lease of %s was taken from this process, which should be stopped: %s", what, path)
            return
        os.utime(path)


def _read(path: Path) -> Owner | None:
    """Return who holds the lease; None for no lease and for one that its writer was killed in."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def _guarded(path: Path) -> Iterator[float]:
    """Let one process at a time look at the lease and change it; yield the file system's time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = path.with_suffix(".lock")
    with guard.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # The clocks of two machines may differ; that of the file system also dates the renewals.
        os.utime(guard)
        yield guard.stat().st_mtime


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started_ticks(pid: int) -> str:
    """Return when a process started; empty if there is none of that number."""
    try:
        # The name, in brackets, may contain spaces; the 22nd field counts from before it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
