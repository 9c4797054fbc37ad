"""Runs one piece of work in a process of its own, so that a crash, a hang or a leak costs one source.

The parent calls `run_isolated(module, request)`; the module, run as a program, calls `answer`. Requests and
answers are JSON.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MEMORY_CHECK_S = 0.2


class ChildError(RuntimeError):
    """The process ended without an answer."""


class ChildTimeoutError(ChildError):
    """The process was killed at its time limit."""


class ChildMemoryError(ChildError):
    """The process was killed at its memory limit."""


def run_isolated(
    module: str, request: str, timeout_s: float | None, max_memory_bytes: int | None = None
) -> str:
    """Run `python -m module` and return its answer; its whole process group is killed at either limit.

    Raises:
        ChildTimeoutError: the limit of time was reached.
        ChildMemoryError: the limit of resident memory was reached, by the process and those it started.
        ChildError: no answer came; the message holds the last line the process wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "answer.json"
        with subprocess.Popen(
            [sys.executable, "-m", module, str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            watch = _MemoryWatch(process, max_memory_bytes)
            try:
                _, stderr = process.communicate(request, timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                raise ChildTimeoutError(f"took longer than {timeout_s:g} s") from error
            finally:
                # Also on Ctrl-C, and for what the process itself started.
                kill_group(process)
                watch.join()
        if watch.has_killed:
            raise ChildMemoryError(
                f"took more than {max_memory_bytes} bytes of memory, and no more are allowed; raise the limit"
            )
        if process.returncode != 0 or not target.is_file():
            lines = stderr.strip().splitlines() or ["without a message"]
            raise ChildError(f"ended with code {process.returncode}: {lines[-1]}")
        return target.read_text()


def answer(handle: Callable[[str], str]) -> None:
    """Be the child: hand the request on standard input to `handle` and write its result for the parent."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    target = Path(sys.argv[1])
    partial = target.with_suffix(".partial")
    partial.write_text(handle(sys.stdin.read()))
    partial.replace(target)


def end_with_parent(parent: int) -> None:
    """End this process group once `parent`, a process id, is gone: a killed parent cannot do it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.killpg(os.getpid(), signal.SIGKILL)


class _MemoryWatch(threading.Thread):
    """Kills a process group that grows too large; a limit on address space would count what is unused."""

    def __init__(self, process: subprocess.Popen[str], max_bytes: int | None) -> None:
        super().__init__(daemon=True)
        self._process, self._max_bytes = process, max_bytes
        self.has_killed = False
        self.start()

    def run(self) -> None:
        while self._max_bytes is not None:
            try:
                self._process.wait(MEMORY_CHECK_S)
                return
            except subprocess.TimeoutExpired:
                if _memory_bytes(self._process.pid) > self._max_bytes:
                    self.has_killed = True
                    kill_group(self._process)


def _memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and those it started; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that leads a group, and all in it, and wait for its end; gone already is no error."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
