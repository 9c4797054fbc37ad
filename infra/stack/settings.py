"""Settings of the stack, read once from infra/stack.env and STACK_* variables."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX = "STACK_"

Port = Annotated[int, Field(ge=1, le=65535)]
DatabaseName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class StackSettings(BaseSettings):
    """Addresses, ports and names; none has a default here."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    host: str
    """IP address that all servers but Ray's nodes bind and are reached at."""
    postgres_port: Port
    postgres_user: DatabaseName
    """Role that owns all databases."""
    mlflow_database: DatabaseName
    mlflow_users_database: DatabaseName
    """MLflow's users and permissions."""
    prefect_database: DatabaseName
    jobs_database: DatabaseName
    """Queue of the animation service."""
    s3_port: Annotated[int, Field(ge=1, le=65528)]
    """Of the S3 API; the store's other parts take the seven ports after it."""
    s3_bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    s3_region: str
    mlflow_port: Port
    mlflow_admin: str
    """User with all rights."""
    prefect_port: Port
    prefect_user: str
    prefect_work_pool: str
    """As `prefect.yaml` names it."""
    ray_head_host: str
    """IP address of Ray's first node: on one machine not 127.0.0.1, for which Ray takes the machine's public
    address, but another one below 127."""
    ray_worker_host: str
    """IP address of Ray's second node, not that of the first."""
    ray_port: Port
    ray_dashboard_port: Port
    ray_node_cpus: Annotated[int, Field(ge=1)]
    """Logical CPUs of each of the two nodes."""
    serve_port: Port
    """Of the animation service."""
    prometheus_port: Port

    def s3_url(self) -> str:
        """Return the endpoint of the S3 API."""
        return f"http://{self.host}:{self.s3_port}"

    def mlflow_url(self) -> str:
        """Return MLflow's address for clients and browsers."""
        return f"http://{self.host}:{self.mlflow_port}"

    def prefect_url(self) -> str:
        """Return the Prefect server's address for browsers; its API is below `/api`."""
        return f"http://{self.host}:{self.prefect_port}"

    def ray_address(self) -> str:
        """Return the cluster's address."""
        return f"{self.ray_head_host}:{self.ray_port}"

    def ray_dashboard_url(self) -> str:
        """Return the address of Ray's dashboard."""
        return f"http://{self.host}:{self.ray_dashboard_port}"

    def service_url(self) -> str:
        """Return the address of the animation service."""
        return f"http://{self.host}:{self.serve_port}"

    def prometheus_url(self) -> str:
        """Return Prometheus's address."""
        return f"http://{self.host}:{self.prometheus_port}"

    def database_url(self, name: str, password: str, scheme: str = "postgresql") -> str:
        """Return SQLAlchemy's URL of a database; `scheme` may name a driver, as in `postgresql+asyncpg`."""
        return f"{scheme}://{self.postgres_user}:{password}@{self.host}:{self.postgres_port}/{name}"


def read_settings(path: Path) -> StackSettings:
    """Read `path`; variables of this process come first.

    Raises:
        ValueError: the file is missing, or a setting is missing, unknown or not allowed.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: restore it with `git checkout infra/stack.env`")
    try:
        return StackSettings(_env_file=path)  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper().removeprefix(_PREFIX)
        raise ValueError(f"{_PREFIX}{name} in {path} or the environment: {first['msg']}") from None
