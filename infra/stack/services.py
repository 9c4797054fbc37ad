"""The services of the stack, in the order in which they start."""

from infra.stack.animation_service import animation_service
from infra.stack.mlflow_server import mlflow_server
from infra.stack.object_store import object_store
from infra.stack.plan import Plan, Service
from infra.stack.postgresql import postgresql
from infra.stack.prefect_server import prefect_server, prefect_worker
from infra.stack.prometheus import prometheus
from infra.stack.ray_cluster import ray_head, ray_worker

NAMES = (
    "postgresql", "s3", "mlflow", "prefect", "ray-head", "ray-worker", "prefect-worker", "serve",
    "prometheus",
)  # fmt: skip
"""Names of all services, as they start."""


def define_services(plan: Plan) -> list[Service]:
    """Return all services.

    Raises:
        StackError: a program is not installed.
    """
    makers = (
        postgresql, object_store, mlflow_server, prefect_server, ray_head, ray_worker, prefect_worker,
        animation_service, prometheus,
    )  # fmt: skip
    return [make(plan) for make in makers]
