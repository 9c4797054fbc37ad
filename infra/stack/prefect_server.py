"""Prefect server on PostgreSQL, and a process worker with the deployments of prefect.yaml."""

import os
import subprocess
import sys

from infra.stack.answers import is_answering, json_of
from infra.stack.plan import Plan, Service, StackError

_SET_UP_TIMEOUT_S = 180


def prefect_server(plan: Plan) -> Service:
    """Return the server; once it answers, the work pool and the deployments are made or updated."""
    settings = plan.settings
    database = settings.database_url(
        settings.prefect_database, plan.credentials.postgres_password, "postgresql+asyncpg"
    )
    return Service(
        name="prefect",
        title="the Prefect server",
        command=(
            *_prefect(), "server", "start",
            "--host", settings.host, "--port", str(settings.prefect_port),
        ),
        ports={"STACK_PREFECT_PORT": settings.prefect_port},
        variables={
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_API_AUTH_STRING": f"{settings.prefect_user}:{plan.credentials.prefect_password}",
            "PREFECT_SERVER_METRICS_ENABLED": "true",
            # Where its page sends requests: left out, to port 4200.
            "PREFECT_SERVER_UI_API_URL": f"{settings.prefect_url()}/api",
        },
        is_ready=lambda: is_answering(f"{settings.prefect_url()}/api/health"),
        complete=lambda: _deploy(plan),
    )  # fmt: skip


def prefect_worker(plan: Plan) -> Service:
    """Return the worker; it runs flows in the project's root as processes of its own."""
    pool = plan.settings.prefect_work_pool
    return Service(
        name="prefect-worker",
        title="the Prefect worker",
        command=(*_prefect(), "worker", "start", "--pool", pool, "--type", "process", "--name", "stack"),
        variables=plan.client_variables(),
        is_ready=lambda: _is_online(plan),
    )


def _prefect() -> tuple[str, ...]:
    return (sys.executable, "-m", "prefect")


def _deploy(plan: Plan) -> None:
    pool = plan.settings.prefect_work_pool
    for arguments in (
        ("work-pool", "create", pool, "--type", "process", "--overwrite"),
        ("--no-prompt", "deploy", "--all"),
    ):
        done = subprocess.run(
            [*_prefect(), *arguments],
            cwd=plan.root,
            env={**os.environ, **plan.client_variables()},
            text=True, capture_output=True, check=False, timeout=_SET_UP_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode != 0:
            reason = (f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["no output"])[-1]
            raise StackError(f"`prefect {' '.join(arguments)}` failed: {reason}")


def _is_online(plan: Plan) -> bool:
    url = f"{plan.settings.prefect_url()}/api/work_pools/{plan.settings.prefect_work_pool}/workers/filter"
    try:
        workers = json_of(url, plan.prefect_headers(), body={})
    except OSError:
        return False
    return any(one["name"] == "stack" and one["status"] == "ONLINE" for one in workers)
