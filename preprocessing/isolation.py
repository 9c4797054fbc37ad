"""Runs one piece of work in a process of its own, so that a crash, a hang or a leak costs one source and no more.

The module to run reads a JSON request from standard input and writes a JSON answer to the file named in its first argument.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


class ChildFailed(RuntimeError):
    """The process ended without an answer."""


class ChildTimedOut(ChildFailed):
    """The process was killed at its time limit."""


def run_isolated(module: str, request: str, timeout_s: float | None) -> str:
    """Run `python -m module` and return its answer; its whole process group is killed at the time limit.

    Raises:
        ChildTimedOut: the limit was reached.
        ChildFailed: no answer came; the message holds the last line the process wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(answer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, stderr = process.communicate(request, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ChildTimedOut(f"took longer than {timeout_s:g} s") from error
        finally:
            # Also on Ctrl-C, and for what the process itself started.
            _kill_group(process)
        if process.returncode != 0 or not answer.is_file():
            lines = stderr.strip().splitlines() or ["without a message"]
            raise ChildFailed(f"ended with code {process.returncode}: {lines[-1]}")
        return answer.read_text()


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
