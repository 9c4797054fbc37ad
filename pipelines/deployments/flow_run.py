"""The environment of a deployment's run, whose id all that it starts carries."""

import os
from pathlib import Path

from prefect.runtime import flow_run

from pipelines.environment import Environment, read_environment
from preprocessing.correlation import CORRELATION_VARIABLE


def deployed_environment() -> Environment:
    """Read the environment of the project that the worker runs in, for a flow that has a process of its own.

    The flow run's id becomes the correlation id, of this process and of the programs that it starts.

    Raises:
        ValueError: the working directory is in no project, or a variable has a bad value.
    """
    os.environ[CORRELATION_VARIABLE] = str(flow_run.id)
    return read_environment(Path.cwd())
