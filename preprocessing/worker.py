"""A process that does one piece of work after another and may crash: a crash costs the piece it was at.

The parent asks a `Worker`, which starts `python -m module` when it has none; the module, run as a program,
calls `serve`. Requests and answers are lines of JSON. Loading networks takes seconds, so one process serves
many requests; it is replaced when it dies or has grown.
"""

import os
import signal
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

from preprocessing.isolation import ChildFailed, end_with_parent

MAX_IDLE_BYTES = 1_000_000_000
"""A process that holds more memory than this between two requests is replaced."""


class Worker:
    """Runs requests in a process of its own, one at a time; used as a context manager.

    Args:
        module: name of the module that calls `serve`.
    """

    def __init__(self, module: str) -> None:
        """Start nothing yet."""
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def ask(self, request: str) -> str:
        """Return the answer to a request of one line.

        Raises:
            ChildFailed: the process died over it; the message holds the last line it wrote. The next request
                gets a new process.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer.endswith("\n"):
            raise ChildFailed(self._last_words())
        if psutil.Process(process.pid).memory_info().rss > MAX_IDLE_BYTES:
            self._stop()
        return answer[:-1]

    def __enter__(self) -> "Worker":
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._stop()

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
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
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


def serve(handle: Callable[[str], str]) -> None:
    """Be the worker: answer the lines of standard input until it closes or the parent is gone."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(handle(line.rstrip("\n")) + "\n")
        answers.flush()
