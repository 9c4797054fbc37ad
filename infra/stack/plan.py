"""What the files of the services share: where the stack lives, its settings and secrets, and `Service`."""

import base64
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.stack.credentials import Credentials
from infra.stack.settings import StackSettings


class StackError(Exception):
    """The stack cannot start; one line says why and what to do."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Service:
    """How one process of the stack is started and checked."""

    name: str
    """Of its record and its log."""
    title: str
    """Name in messages, with its article."""
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports it binds, by the setting that moves each."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's variables."""
    prepare: Callable[[], None] = _nothing
    """Called before each start."""
    complete: Callable[[], None] = _nothing
    """Called after each start, once the service is ready; may be repeated."""
    user: str | None = None
    """Runs it in place of this process's user."""
    late_arguments: Callable[[], tuple[str, ...]] = tuple
    """Appended to the command; called before each start."""
    why_left_out: Callable[[], str | None] = _nothing
    """Returns why the stack does without it for now, or None if it shall run; called before each start."""

    @property
    def address(self) -> str:
        """The ports it binds, with their settings; kept in its record."""
        return " ".join(f"{name}={port}" for name, port in self.ports.items())


@dataclass(frozen=True)
class Plan:
    """The stack of one project.

    Args:
        root: the project's root, where workers find the code.
        home: folder of data, logs and credentials.
    """

    root: Path
    home: Path
    settings: StackSettings
    credentials: Credentials

    @property
    def records(self) -> Path:
        """Records and logs of the processes."""
        return self.home / "services"

    @property
    def ray_token(self) -> Path:
        """File of the cluster's token."""
        return self.home / "ray_token"

    @property
    def ray_home(self) -> Path:
        """Ray's temporary folder, short since it holds sockets."""
        mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"lia-stack-{mark}"

    def s3_variables(self) -> dict[str, str]:
        """Return the variables of S3's clients."""
        return {
            "AWS_ACCESS_KEY_ID": self.credentials.s3_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.s3_secret,
            "AWS_DEFAULT_REGION": self.settings.s3_region,
            "AWS_ENDPOINT_URL": self.settings.s3_url(),
        }

    def client_variables(self) -> dict[str, str]:
        """Return the variables with which `lia`, Prefect, MLflow and Ray reach the stack."""
        settings, secret = self.settings, self.credentials
        return self.quiet_variables() | self.ray_variables() | self.s3_variables() | {
            "LIA_PREFECT_API_URL": f"{settings.prefect_url()}/api",
            "PREFECT_API_URL": f"{settings.prefect_url()}/api",
            "PREFECT_API_AUTH_STRING": f"{settings.prefect_user}:{secret.prefect_password}",
            "LIA_MLFLOW_TRACKING_URI": settings.mlflow_url(),
            "MLFLOW_TRACKING_URI": settings.mlflow_url(),
            "MLFLOW_TRACKING_USERNAME": settings.mlflow_admin,
            "MLFLOW_TRACKING_PASSWORD": secret.mlflow_password,
            "LIA_RAY_ADDRESS": settings.ray_address(),
            "RAY_ADDRESS": settings.ray_address(),
            "LIA_STORE_URL": f"s3://{settings.s3_bucket}/project",
            "LIA_TRAIN_STORAGE_URL": f"s3://{settings.s3_bucket}/train",
            "LIA_DATABASE_URL": settings.database_url(settings.jobs_database, secret.postgres_password),
            "LIA_MEDIA_STORE_URL": f"s3://{settings.s3_bucket}/animations",
            "LIA_SERVE_PORT": str(settings.serve_port),
            "LIA_API_TOKEN": secret.service_token,
        }  # fmt: skip

    def mlflow_headers(self) -> dict[str, str]:
        """Return the headers by which MLflow knows its administrator."""
        return _basic(self.settings.mlflow_admin, self.credentials.mlflow_password)

    def prefect_headers(self) -> dict[str, str]:
        """Return the headers by which Prefect knows its clients."""
        return _basic(self.settings.prefect_user, self.credentials.prefect_password)

    def ray_variables(self) -> dict[str, str]:
        """Return the variables of Ray's nodes and clients."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.ray_token)}

    def quiet_variables(self) -> dict[str, str]:
        """Return the variables that keep homes in the stack's folder, and telemetry and proxies out."""
        settings = self.settings
        listed = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
        own = (settings.host, settings.ray_head_host, settings.ray_worker_host)
        hosts = ",".join(dict.fromkeys(host for host in (*own, *",".join(listed).split(",")) if host))
        return {
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "RAY_USAGE_STATS_ENABLED": "0",
            "DO_NOT_TRACK": "1",
            "OMP_WAIT_POLICY": "passive",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": hosts,
            "no_proxy": hosts,
        }


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
