"""A Ray cluster of two nodes, a head and a worker, that require the cluster's token."""

import sys

from infra.stack.answers import json_of
from infra.stack.plan import Plan, Service
from pipelines.local.ports import choose_free_port
from pipelines.local.service_definitions import RAY_HEAD_VARIABLES, RAY_PORTS_OF_THE_SYSTEM
from pipelines.ray_token import ensure_ray_token


def ray_head(plan: Plan) -> Service:
    """Return the head; it runs tasks too."""
    settings = plan.settings
    client_port = choose_free_port((settings.ray_port, settings.ray_dashboard_port))
    return Service(
        name="ray-head",
        title="Ray's head",
        command=(
            *_start(plan, settings.ray_head_host), "--head", "--port", str(settings.ray_port),
            "--dashboard-host", settings.host, "--dashboard-port", str(settings.ray_dashboard_port),
            # The server of the ray:// protocol, unused here, cannot be left out and does not accept 0.
            "--ray-client-server-port", str(client_port),
            "--temp-dir", str(plan.ray_home),
        ),
        ports={"STACK_RAY_PORT": settings.ray_port, "STACK_RAY_DASHBOARD_PORT": settings.ray_dashboard_port},
        variables=_node_variables(plan) | RAY_HEAD_VARIABLES,
        prepare=lambda: _prepare(plan),
        is_ready=lambda: num_nodes(plan) >= 1,
    )  # fmt: skip


def ray_worker(plan: Plan) -> Service:
    """Return the second node."""
    return Service(
        name="ray-worker",
        title="Ray's second node",
        command=(*_start(plan, plan.settings.ray_worker_host), "--address", plan.settings.ray_address()),
        variables=_node_variables(plan),
        is_ready=lambda: num_nodes(plan) == 2,
    )


def num_nodes(plan: Plan) -> int:
    """Return how many nodes of the cluster are alive; 0 if it does not answer."""
    token = plan.ray_token.read_text().strip()
    try:
        answer = json_of(
            f"{plan.settings.ray_dashboard_url()}/api/v0/nodes", {"Authorization": f"Bearer {token}"}
        )
    except OSError:
        return 0
    return sum(node["state"] == "ALIVE" for node in answer["data"]["result"]["result"])


def _start(plan: Plan, host: str) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
        "--node-ip-address", host, "--num-cpus", str(plan.settings.ray_node_cpus),
        *RAY_PORTS_OF_THE_SYSTEM,
    )  # fmt: skip


def _node_variables(plan: Plan) -> dict[str, str]:
    """Return the variables of a node, whose tasks reach the stack's other services."""
    return {name: value for name, value in plan.client_variables().items() if name != "RAY_ADDRESS"}


def _prepare(plan: Plan) -> None:
    ensure_ray_token(plan.ray_token)
    plan.ray_home.mkdir(parents=True, exist_ok=True, mode=0o700)
