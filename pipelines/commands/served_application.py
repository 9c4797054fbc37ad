"""The service as Ray Serve builds it from a configuration of its own, which KubeRay's RayService holds.

`lia serve` does the same from a terminal.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from pipelines.environment import read_environment

if TYPE_CHECKING:
    from ray.serve import Application


class Arguments(BaseModel):
    """The `args` of the application in Serve's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Path
    """Folder of params.yaml; Ray's own working directory is none."""
    host: str
    """Address to bind; one other than loopback requires a token."""
    port: int = Field(ge=1, le=65535)
    model: str
    """Checkpoint directory or model URI."""


def application(args: Arguments) -> "Application":
    """Return the application for the cluster of this process; Serve calls it by its name.

    Raises:
        ValueError: see `pipelines.commands.serve.run_serve`.
    """
    environment = read_environment(args.project)
    # Before MLflow and Ray's parts are imported.
    environment.activate()
    from lia_model.serving.app import fitting_application
    from pipelines.commands.serve import require_token_beyond_loopback, service_config
    from pipelines.params import read_params

    require_token_beyond_loopback(args.host, environment)
    config = service_config(read_params(environment.paths.root / "params.yaml"), environment, args.model)
    return fitting_application(config, args.host, args.port)
