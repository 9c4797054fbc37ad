"""All processes of a stack, also those whose parent has ended."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from pipelines.process import live_process, read_record, record_path

MARK = "STACK_RECORDS"
"""Variable of every process of a stack: the folder of its records."""
_PATIENCE_S = 5


def members(names: Iterable[str], records: Path) -> list[psutil.Process]:
    """Return the processes of the recorded services and all that descend from them.

    A service leads a session, to which its children belong whether or not it lives. A child with a session of
    its own is known by a variable, which a process that changes its title, as Ray's workers do, may lose.

    Args:
        names: of the services.
        records: folder of their records.
    """
    sessions = _sessions(names, records)
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in ours and _belongs(process, sessions, records)
    ]


def end_all(processes: list[psutil.Process]) -> None:
    """Terminate processes, and kill those that remain."""
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                send(process)
        _, processes = psutil.wait_procs(processes, timeout=_PATIENCE_S)


def _sessions(names: Iterable[str], records: Path) -> set[int]:
    """Return the sessions that the recorded processes lead or led."""
    found = set()
    for name in names:
        record = read_record(record_path(records, name))
        # The system gives no process the number of a session that still has members: if another one has it,
        # the session is no more.
        if record is not None and (live_process(record) is not None or not psutil.pid_exists(record.pid)):
            found.add(record.pid)
    return found


def _belongs(process: psutil.Process, sessions: set[int], records: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(process.pid) in sessions or process.environ().get(MARK) == str(records)
    except (psutil.Error, OSError):
        # It has ended, or is another user's.
        return False
