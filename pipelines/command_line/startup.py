"""What commands do first: find the project, set the tools' variables, read params.yaml."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.environment import Environment, read_environment
from pipelines.local.log_lines import log_as_json

if TYPE_CHECKING:
    from pipelines.params import Params


def activate_environment() -> Environment:
    """Read the environment of the project around the working directory and set the tools' variables.

    Raises:
        ValueError: the working directory is in no project, or a LIA_* variable has a bad value.
    """
    environment = read_environment(Path.cwd())
    if environment.log_format == "json":
        log_as_json(environment.correlation_id)
    environment.activate()
    return environment


def enter_project() -> "tuple[Params, Environment]":
    """Activate the environment, read params.yaml and change to the project's root.

    Paths in params.yaml are relative to the root.

    Raises:
        ValueError: there is no project, or a setting or variable has a bad value.
    """
    environment = activate_environment()
    from pipelines.params import read_params

    os.chdir(environment.paths.root)
    return read_params(environment.paths.root / "params.yaml"), environment
