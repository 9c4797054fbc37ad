"""A child process that answers one request after another; a crash costs the request it was working on.

`ChildServer` starts `python -m module` when it has no process; the module, run as a program, calls `serve`.
Requests and answers are lines of JSON. Loading networks takes seconds, so one process answers many requests;
it is replaced when it dies or has grown too large.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO

import psutil

from preprocessing.sandbox.child import ChildError, ChildTimeoutError, end_with_parent, kill_group

MAX_IDLE_BYTES = 1_000_000_000
"""A process that holds more memory than this between two requests is replaced."""


class ChildServer:
    """Runs requests in a process of its own, one at a time; used as a context manager.

    Args:
        module: name of the module that calls `serve`.
    """

    def __init__(self, module: str) -> None:
        """Start nothing yet."""
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def ask(self, request: str, timeout_s: float | None = None) -> str:
        """Return the answer to a request of one line.

        Raises:
            ChildTimeoutError: no answer came within `timeout_s`, and the process was killed.
            ChildError: the process died over it; the message holds the last line it wrote. The next request
                gets a new process.
        """
        process = self._process or self._start()
        deadline = _Deadline(process, timeout_s)
        answer = self._exchange(process, request)
        if deadline.is_over():
            self._stop()
            raise ChildTimeoutError(f"took longer than {timeout_s:g} s")
        if not answer.endswith("\n"):
            raise ChildError(self._last_words())
        if psutil.Process(process.pid).memory_info().rss > MAX_IDLE_BYTES:
            self._stop()
        return answer[:-1]

    def __enter__(self) -> "ChildServer":
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._stop()

    @staticmethod
    def _exchange(process: subprocess.Popen[str], request: str) -> str:
        """Return the line that the process answers; what is not a whole line if it died."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return ""

    def _start(self) -> subprocess.Popen[str]:
        # Not a pipe: nobody would read it while the parent waits for an answer.
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
        kill_group(self._process)
        with suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)
        self._errors.close()
        self._process = self._errors = None

    def _last_words(self) -> str:
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = deque((line for line in self._errors if line.strip()), maxlen=1)
        self._stop()
        return f"ended with code {code}: {lines[0].strip() if lines else 'without a message'}"


class _Deadline:
    """Kills a process group that has not answered in time."""

    def __init__(self, process: subprocess.Popen[str], timeout_s: float | None) -> None:
        self._has_killed = False
        self._process = process
        self._timer = None if timeout_s is None else threading.Timer(timeout_s, self._kill)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def is_over(self) -> bool:
        """Return whether the process was killed; from now on it is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        return self._has_killed

    def _kill(self) -> None:
        self._has_killed = True
        kill_group(self._process)


def serve(handle: Callable[[str], str]) -> None:
    """Be the server: answer the lines of standard input until it closes or the parent is gone."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(handle(line.rstrip("\n")) + "\n")
        answers.flush()
