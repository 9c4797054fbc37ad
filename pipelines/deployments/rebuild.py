"""The two deployments that rebuild everything: they call DVC, and DVC calls the stages.

Only these flows and `lia forget` may call DVC; a stage that did would wait for its own lock. Of all runs that
change the project's data one works at a time, and the others wait; DVC itself would wait three seconds for a
`dvc repro` in a terminal and then fail, so that is waited for here too.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task

from pipelines.child_programs import ProgramError, run_logged
from pipelines.deployments.artifacts import show_data_set, show_evaluation
from pipelines.deployments.data_release import release_data
from pipelines.deployments.flow_run import deployed_environment
from pipelines.deployments.params_file import override_params
from pipelines.deployments.turns import one_at_a_time
from pipelines.environment import Environment
from pipelines.params import read_params
from preprocessing.sources.source_list import read_valid_sources

_LOCK_PATIENCE_S = 600
_LOCK_PAUSE_S = 10
_LOCK_SIGNS = ("Unable to acquire lock", "is busy, it is being blocked by")


@flow(name="rebuild-dataset", persist_result=False)
def rebuild_dataset(
    sources: str | None = None, overrides: dict[str, Any] | None = None, publish: bool = False
) -> None:
    """Bring data/shards up to date with the list of sources and params.yaml.

    Args:
        sources: list of sources that replaces the project's own, absolute or relative to the project.
        overrides: settings to change in params.yaml, by dotted name, such as {"shards.size_px": 128}.
        publish: afterwards commit the version of the data, tag it in git and `dvc push` it.
    """
    with _prepared(sources, overrides) as environment:
        reproduce(environment, "shards")
        show_data_set(environment.paths)
        if publish:
            release_data(environment)


@flow(name="train-and-release", persist_result=False)
def train_and_release(
    sources: str | None = None,
    overrides: dict[str, Any] | None = None,
    publish: bool = False,
    release: bool = True,
) -> None:
    """Bring the trained model up to date, measure it, and release it if it is better.

    Args:
        sources: see `rebuild_dataset`.
        overrides: see `rebuild_dataset`.
        publish: see `rebuild_dataset`.
        release: register the model and let the gate decide; otherwise only measure it.
    """
    with _prepared(sources, overrides) as environment:
        reproduce(environment, "evaluate")
        show_data_set(environment.paths)
        show_evaluation(environment)
        if publish:
            release_data(environment)
        if release:
            release_model(environment)


@contextmanager
def _prepared(sources: str | None, overrides: dict[str, Any] | None) -> Iterator[Environment]:
    """Wait for the project, then change its list and its settings as asked."""
    environment = deployed_environment()
    with one_at_a_time(environment.paths.root):
        if sources is not None:
            replace_sources(environment, Path(sources))
        if overrides:
            override_params(environment.paths.root / "params.yaml", overrides)
            get_run_logger().info("params.yaml now holds %s", overrides)
        yield environment


def replace_sources(environment: Environment, sources: Path) -> None:
    """Replace the project's list of sources, which git keeps, by another.

    Raises:
        ValueError: the list is missing, has no valid row, or has leaks between the splits.
    """
    paths = environment.paths
    given = paths.root / sources
    num_sources = len(read_valid_sources(given).sources)
    target = paths.root / read_params(paths.root / "params.yaml").download.sources
    if given.resolve() != target.resolve():
        shutil.copyfile(given, target)
    get_run_logger().info("%s now holds the %d sources of %s", target, num_sources, given)


@task(name="dvc repro", persist_result=False)
def reproduce(environment: Environment, stage: str) -> None:
    """Run `stage` and all before it, as far as something changed.

    Raises:
        ProgramError: a stage failed, or somebody held DVC's lock for ten minutes.
    """
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
def release_model(environment: Environment) -> None:
    """Register checkpoints/final and let the gate decide.

    Raises:
        ProgramError: the release failed.
    """
    run_logged(["lia", "release"], environment.paths.root, environment.tool_variables(), get_run_logger())
