"""The two deployments that rebuild everything: they call DVC, and DVC calls the stages.

Only these flows and `lia forget` may call DVC; a stage that did would wait for its own lock. DVC waits three
seconds for its lock and then fails, so a run that meets another one tries again for a while.
"""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from prefect import flow, get_run_logger, task

from pipelines.environment import Environment, read_environment

_LOCK_PATIENCE_S = 600
_LOCK_PAUSE_S = 10
_LOCK_SIGNS = ("Unable to acquire lock", "is busy, it is being blocked by")


class RebuildError(Exception):
    """A stage or the release failed."""


@flow(name="rebuild-dataset", persist_result=False)
def rebuild_dataset() -> None:
    """Bring data/shards up to date with data/sources.csv and params.yaml."""
    reproduce("shards")


@flow(name="train-and-release", persist_result=False)
def train_and_release() -> None:
    """Bring the trained model up to date, measure it, and release it if it is better."""
    reproduce("evaluate")
    release()


@task(name="dvc repro", persist_result=False)
def reproduce(stage: str) -> None:
    """Run `stage` and all before it, as far as something changed.

    Raises:
        RebuildError: a stage failed, or somebody held DVC's lock for ten minutes.
    """
    environment = read_environment(Path.cwd())
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        returncode, lines = run_logged(["dvc", "repro", stage], environment, get_run_logger())
        if returncode == 0:
            return
        is_locked = any(sign in line for line in lines for sign in _LOCK_SIGNS)
        if not is_locked or time.monotonic() > deadline:
            raise RebuildError(f"dvc repro {stage} exited {returncode}: {last_words(lines)}")
        time.sleep(_LOCK_PAUSE_S)


@task(name="release", persist_result=False)
def release() -> None:
    """Register checkpoints/final and let the gate decide.

    Raises:
        RebuildError: the release failed.
    """
    returncode, lines = run_logged(["lia", "release"], read_environment(Path.cwd()), get_run_logger())
    if returncode != 0:
        raise RebuildError(f"lia release exited {returncode}: {last_words(lines)}")


def run_logged(
    command: list[str],
    environment: Environment,
    log: "logging.Logger | logging.LoggerAdapter[logging.Logger]",
) -> tuple[int, list[str]]:
    """Run a program of this environment in the project's root; return its exit code and what it printed.

    A flow that a flow starts would report itself as its child; the stages are runs of their own, so what ties
    a process to the current flow run is left out.
    """
    scripts = str(Path(sys.executable).parent)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    variables |= environment.tool_variables()
    variables["PATH"] = f"{scripts}{os.pathsep}{variables.get('PATH', '')}"
    lines = []
    with subprocess.Popen(
        command,
        cwd=environment.root,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            log.info("%s", lines[-1])
    return process.returncode, lines


def last_words(lines: list[str]) -> str:
    """Return the line in which a program of ours or DVC says why it failed."""
    errors = [line for line in lines if line.startswith(("lia:", "ERROR:"))]
    return (errors or lines or ["no output"])[0]
