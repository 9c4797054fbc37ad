"""The two deployments that rebuild everything: they call DVC, and DVC calls the stages.

Only these flows and `lia forget` may call DVC; a stage that did would wait for its own lock. DVC waits three
seconds for its lock and then fails, so a run that meets another one tries again for a while.
"""

import time
from pathlib import Path

from prefect import flow, get_run_logger, task

from pipelines.child_programs import ProgramError, run_logged
from pipelines.environment import read_environment

_LOCK_PATIENCE_S = 600
_LOCK_PAUSE_S = 10
_LOCK_SIGNS = ("Unable to acquire lock", "is busy, it is being blocked by")


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
        ProgramError: a stage failed, or somebody held DVC's lock for ten minutes.
    """
    environment = read_environment(Path.cwd())
    root, variables = environment.paths.root, environment.tool_variables()
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            return run_logged(["dvc", "repro", stage], root, variables, get_run_logger())
        except ProgramError as error:
            is_locked = any(sign in line for line in error.lines for sign in _LOCK_SIGNS)
            if not is_locked or time.monotonic() > deadline:
                raise
        time.sleep(_LOCK_PAUSE_S)


@task(name="release", persist_result=False)
def release() -> None:
    """Register checkpoints/final and let the gate decide.

    Raises:
        ProgramError: the release failed.
    """
    environment = read_environment(Path.cwd())
    run_logged(["lia", "release"], environment.paths.root, environment.tool_variables(), get_run_logger())
