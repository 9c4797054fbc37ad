"""MLflow with users and passwords, its records in PostgreSQL and its files in the S3 store."""

import sys
from pathlib import Path

from infra.stack.answers import is_answering
from infra.stack.plan import Plan, Service
from infra.stack.private_file import write_private

_PASSWORD_CACHE_S = 60
"""For so long a password that was right needs no new hash, which MLflow otherwise makes twice a request."""


def mlflow_server(plan: Plan) -> Service:
    """Return the tracking server; clients send and fetch files through it and need no key of the store."""
    settings, secret = plan.settings, plan.credentials
    users = plan.home / "mlflow_users.ini"
    records = settings.database_url(settings.mlflow_database, secret.postgres_password, "postgresql+psycopg")
    return Service(
        name="mlflow",
        title="MLflow",
        command=(
            sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
            "--host", settings.host, "--port", str(settings.mlflow_port),
            "--artifacts-destination", f"s3://{settings.s3_bucket}/mlflow",
            "--allowed-hosts", f"{settings.host}:{settings.mlflow_port},localhost:{settings.mlflow_port}",
        ),
        ports={"STACK_MLFLOW_PORT": settings.mlflow_port},
        variables={
            **plan.s3_variables(),
            "MLFLOW_BACKEND_STORE_URI": records,
            "MLFLOW_AUTH_CONFIG_PATH": str(users),
            "MLFLOW_AUTH_ADMIN_PASSWORD": secret.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret.mlflow_session_key,
        },
        prepare=lambda: _write_users_file(users, plan),
        is_ready=lambda: is_answering(f"{settings.mlflow_url()}/health"),
    )  # fmt: skip


def _write_users_file(path: Path, plan: Plan) -> None:
    """Write where MLflow keeps its users; the file alone may hold that URL with its password."""
    settings = plan.settings
    url = settings.database_url(
        settings.mlflow_users_database, plan.credentials.postgres_password, "postgresql+psycopg"
    )
    lines = (
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {url}",
        f"admin_username = {settings.mlflow_admin}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        f"auth_cache_ttl_seconds = {_PASSWORD_CACHE_S}",
    )
    write_private(path, "\n".join(lines) + "\n")
