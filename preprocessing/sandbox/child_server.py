"""A child process that answers requests one at a time; a crash costs the request in progress.

Protocol: a request is one line on the child's standard input, the answer one line on its standard output. The
child's module, run as `python -m module`, calls `answer_requests`; the parent calls `ChildServer.ask`. The
child ends when its parent does.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO

import psutil

MAX_IDLE_BYTES = 1_000_000_000
"""What a process may hold between two requests, unless its server says otherwise."""
MEMORY_CHECK_S = 0.2
PARENT_CHECK_S = 0.2


class ChildError(RuntimeError):
    """The process ended without an answer."""


class ChildTimeoutError(ChildError):
    """The process was killed at its time limit."""


class ChildMemoryError(ChildError):
    """The process was killed at its memory limit."""


class ChildServer:
    """Sends requests to a child process; a context manager.

    The process starts with the first request and is replaced when it dies or grows beyond `max_idle_bytes`.
    It answers many requests, since loading networks takes seconds.

    Args:
        module: name of the module that calls `answer_requests`.
        max_idle_bytes: a process with more resident memory between two requests is replaced; None keeps it.
    """

    def __init__(self, module: str, max_idle_bytes: int | None = MAX_IDLE_BYTES) -> None:
        self._module = module
        self._max_idle_bytes = max_idle_bytes
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def ask(self, request: str, timeout_s: float | None = None, max_memory_bytes: int | None = None) -> str:
        """Return the answer to a request of one line.

        Args:
            request: without a line break.
            timeout_s: wall clock, start of the process included.
            max_memory_bytes: resident memory of the process and those it started.

        Raises:
            ChildTimeoutError: the process reached `timeout_s` and was killed.
            ChildMemoryError: the process reached `max_memory_bytes` and was killed.
            ChildError: the process died; the message holds the last line it wrote.
        """
        process = self._process or self._start()
        with _Limits(process, timeout_s, max_memory_bytes) as limits:
            answer = self._exchange(process, request)
        if limits.error is not None:
            self._stop()
            raise limits.error
        if not answer.endswith("\n"):
            raise ChildError(self._reap())
        if (
            self._max_idle_bytes is not None
            and psutil.Process(process.pid).memory_info().rss > self._max_idle_bytes
        ):
            self._stop()
        return answer[:-1]

    def __enter__(self) -> "ChildServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @staticmethod
    def _exchange(process: subprocess.Popen[str], request: str) -> str:
        """Return the child's answer, which lacks its line break if the child died."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return ""

    def _start(self) -> subprocess.Popen[str]:
        # A file, since an unread pipe would block the child once it is full.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed in _stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        return self._process

    def _stop(self) -> None:
        if self._process is None or self._errors is None:
            return
        _kill_group(self._process)
        with suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)
        self._errors.close()
        self._process = self._errors = None

    def _reap(self) -> str:
        """Return why the process died."""
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = deque((line for line in self._errors if line.strip()), maxlen=1)
        self._stop()
        return f"ended with code {code}: {lines[0].strip() if lines else 'no message'}"


def answer_requests(handle: Callable[[str], str]) -> None:
    """Answer the requests of the parent in this process until standard input closes or the parent is gone."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # Standard output carries answers only; what libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Unbuffered, so that text printed before a crash does not follow the error that ended the process.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        answers.write(handle(line.rstrip("\n")) + "\n")
        answers.flush()


def _end_with_parent(parent: int) -> None:
    """Kill this process group once the process `parent` is gone; a killed parent cannot do it itself."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os.killpg(os.getpid(), signal.SIGKILL)


class _Limits(threading.Thread):
    """Kills a process group that exceeds a limit while the context is open.

    Memory is polled: a limit on the address space would count memory that is reserved but unused.
    """

    def __init__(
        self, process: subprocess.Popen[str], timeout_s: float | None, max_memory_bytes: int | None
    ) -> None:
        super().__init__(daemon=True)
        self._process, self._timeout_s, self._max_memory_bytes = process, timeout_s, max_memory_bytes
        self._is_over = threading.Event()
        self.error: ChildError | None = None
        """Which limit was exceeded; None if none was."""

    def __enter__(self) -> "_Limits":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while not self._is_over.wait(self._next_check_s(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                self.error = ChildTimeoutError(f"took longer than {self._timeout_s:g} s")
            elif self._max_memory_bytes is not None and _memory_bytes(self._process) > self._max_memory_bytes:
                self.error = ChildMemoryError(
                    f"took more than {self._max_memory_bytes} bytes of memory, the limit; raise it"
                )
            if self.error is not None:
                _kill_group(self._process)
                return

    def _next_check_s(self, deadline: float | None) -> float | None:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        if self._max_memory_bytes is None:
            return left_s
        return MEMORY_CHECK_S if left_s is None else min(left_s, MEMORY_CHECK_S)


def _memory_bytes(process: subprocess.Popen[str]) -> int:
    """Return the resident memory of a process and those it started; 0 when it is gone."""
    try:
        parent = psutil.Process(process.pid)
        return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))
    except psutil.Error:
        return 0


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill the process group that `process` leads, if it still runs, and wait for its end."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
