"""Runs `dvc` and `lia` as child programs in a project's root, and reports the one that fails in one line.

They come from this Python environment, whatever PATH is.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PATIENCE_S = 8.0
"""How long an interrupted program may take to end; Prefect kills a cancelled run after 30 s."""


class ProgramError(Exception):
    """A child program failed.

    Args:
        command: program and arguments.
        returncode: its exit code; negative for the signal that ended it.
        lines: what it printed, if that was captured.
    """

    def __init__(self, command: Sequence[str], returncode: int, lines: Sequence[str] | None) -> None:
        self.lines = [] if lines is None else list(lines)
        """What the program printed; empty if it printed to the terminal."""
        self.reason = "its message stands above" if lines is None else decisive_line(lines)
        """Why it failed, in its own words where these are known."""
        super().__init__(f"`{' '.join(command)}` failed with exit code {returncode}: {self.reason}")


def run_on_terminal(command: Sequence[str], root: Path) -> None:
    """Run a program in `root` that prints to this process's terminal.

    Raises:
        ProgramError: it failed.
    """
    returncode = subprocess.run(command, cwd=root, env=_child_variables({})).returncode
    if returncode != 0:
        raise ProgramError(command, returncode, None)


def run_logged(
    command: Sequence[str],
    root: Path,
    variables: Mapping[str, str],
    log: "logging.Logger | logging.LoggerAdapter[logging.Logger]",
) -> None:
    """Run a program in `root` and log each line that it prints, while it runs.

    If this process is interrupted meanwhile, the program and all that it started are ended first.

    Args:
        command: program and arguments.
        root: the project's root.
        variables: set on top of this process's own.
        log: gets the lines, at level INFO.

    Raises:
        ProgramError: it failed.
    """
    lines = []
    with subprocess.Popen(
        command,
        cwd=root,
        env=_child_variables(variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                log.info("%s", lines[-1])
        except BaseException:
            end_with_children(psutil.Process(process.pid))
            raise
    if process.returncode != 0:
        raise ProgramError(command, process.returncode, lines)


def end_with_children(process: psutil.Process, patience_s: float = PATIENCE_S) -> None:
    """Terminate a process and all that it started, and kill what has not ended after `patience_s`."""
    family = [*process.children(recursive=True), process]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(family, timeout=patience_s)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def decisive_line(lines: Sequence[str]) -> str:
    """Return the line in which a program of ours or DVC says why it failed."""
    errors = [line for line in lines if line.startswith(("lia:", "ERROR:"))]
    return (errors or lines or ["no output"])[0]


def _child_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables with those given, and this Python environment's programs first on PATH.

    A flow that a flow starts would report itself as its child; the stages are runs of their own, so what ties
    this process to its flow run is left out.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    merged = {**own, **variables}
    scripts = str(Path(sys.executable).parent)
    return merged | {"PATH": f"{scripts}{os.pathsep}{merged.get('PATH', '')}"}
