"""How this project runs a Prefect server, an MLflow UI and a Ray head: command, ports and health check."""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pipelines.environment import Environment, sqlite_uri
from pipelines.local.logical_cpus import num_logical_cpus
from pipelines.local.ports import choose_free_port

_SYSTEM_CHOOSES = "0"
RAY_PORTS_OF_THE_SYSTEM = (
    "--dashboard-agent-listen-port", _SYSTEM_CHOOSES,
    "--dashboard-agent-grpc-port", _SYSTEM_CHOOSES,
    "--runtime-env-agent-port", _SYSTEM_CHOOSES,
    "--metrics-export-port", _SYSTEM_CHOOSES,
    "--min-worker-port", _SYSTEM_CHOOSES, "--max-worker-port", _SYSTEM_CHOOSES,
)  # fmt: skip
"""Options of `ray start` for the ports of a node's parts. Their defaults are fixed, and two projects on one
machine would collide. At 0, a part binds a port that the system hands out and publishes it: nobody can take
it before."""

RAY_HEAD_VARIABLES = {"GRPC_ENABLE_FORK_SUPPORT": "0", "RAY_health_check_period_ms": "1000"}
"""Variables of a Ray head.

Its server of ray:// clients forks a program for each client. gRPC's handlers of forks, which a program that
calls exec does not need, crashed 6 of 84 children before they started; without them, none of 108.

A node is lost when five checks in a row fail, and Ray's period of 3 s takes 15 s for that: longer than a
training takes to ask for workers again, which then wait a minute for the node that is gone. A node that is
slow to answer has its 10 s for each check as before.
"""


class ServiceName(StrEnum):
    """The services; their records and logs in runs/services are named after them."""

    PREFECT = "prefect"
    MLFLOW = "mlflow"
    RAY = "ray"


@dataclass(frozen=True)
class Service:
    """How one service is started, reached and checked."""

    name: ServiceName
    title: str
    """Name in messages."""
    ports: dict[str, int]
    """Fixed ports it binds, by the field of `Environment` that sets each."""
    chosen_ports: tuple[int, ...] = field(default=(), kw_only=True)
    """Ports chosen at random, of parts that clients do not address."""
    address: str
    """Address for clients: a URL, or host:port for Ray."""
    url: str
    """Page to open in a browser."""
    health: str
    """URL that answers 200 once the service works."""
    command: tuple[str, ...]
    """Program and arguments; runs in the foreground."""
    variables: dict[str, str] = field(default_factory=dict)
    """Variables that it has besides those that all services have."""


def define_services(environment: Environment) -> list[Service]:
    """Return all three services in the order in which they start."""
    host, paths = environment.host, environment.paths
    client_port = choose_free_port(set(environment.ports().values()))
    return [
        _prefect(host, environment.prefect_port),
        _mlflow(host, environment.mlflow_port, _mlflow_store(environment), paths.artifacts),
        _ray(host, environment.ray_port, environment.ray_dashboard_port, client_port, paths.ray_home),
    ]


def _prefect(host: str, port: int) -> Service:
    url = f"http://{host}:{port}"
    return Service(
        name=ServiceName.PREFECT,
        title="Prefect server",
        ports={"prefect_port": port},
        address=f"{url}/api",
        url=url,
        health=f"{url}/api/health",
        command=(
            *_script("prefect"), "server", "start",
            "--host", host, "--port", str(port),
        ),
        # Where its page sends requests: left out, to port 4200.
        variables={"PREFECT_SERVER_UI_API_URL": f"{url}/api"},
    )  # fmt: skip


def _mlflow_store(environment: Environment) -> str:
    """Return where our own MLflow UI keeps its runs; a tracking URI that is its address names itself."""
    uri = environment.mlflow_tracking_uri
    return uri if uri.startswith("sqlite:") else sqlite_uri(environment.paths.mlflow_store)


def _mlflow(host: str, port: int, store: str, artifacts: Path) -> Service:
    url = f"http://{host}:{port}"
    return Service(
        name=ServiceName.MLFLOW,
        title="MLflow UI",
        ports={"mlflow_port": port},
        address=url,
        url=url,
        health=f"{url}/health",
        command=(
            *_script("mlflow"), "ui",
            "--host", host, "--port", str(port), "--workers", "1",
            "--backend-store-uri", store,
            "--artifacts-destination", str(artifacts),
        ),
    )  # fmt: skip


def _ray(host: str, port: int, dashboard_port: int, client_port: int, home: Path) -> Service:
    url = f"http://{host}:{dashboard_port}"
    return Service(
        name=ServiceName.RAY,
        title="Ray head",
        ports={"ray_port": port, "ray_dashboard_port": dashboard_port},
        chosen_ports=(client_port,),
        address=f"{host}:{port}",
        url=url,
        # One of the few paths that need no token.
        health=f"{url}/api/gcs_healthz",
        command=(
            *_script("ray"), "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address", host, "--port", str(port),
            "--num-cpus", str(num_logical_cpus()),
            "--dashboard-host", host, "--dashboard-port", str(dashboard_port),
            *RAY_PORTS_OF_THE_SYSTEM,
            # The server of the ray:// protocol, unused here, cannot be left out and does not accept 0.
            "--ray-client-server-port", str(client_port),
            "--temp-dir", str(home),
        ),
        variables=RAY_HEAD_VARIABLES,
    )  # fmt: skip


def _script(name: str) -> tuple[str, ...]:
    """Return the command of a console script of this Python environment, whatever PATH is."""
    return (sys.executable, str(Path(sys.executable).parent / name))
