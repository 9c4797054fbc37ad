"""Prometheus from the system's packages, with what the other services tell of themselves."""

import shutil

import yaml

from infra.stack.answers import is_answering
from infra.stack.plan import Plan, Service
from infra.stack.private_file import write_private

_INTERVAL = "15s"


def prometheus(plan: Plan) -> Service:
    """Return the server; the stack does without it where it is not installed."""
    settings, found = plan.settings, shutil.which("prometheus")
    config = plan.home / "prometheus.yml"
    return Service(
        name="prometheus",
        title="Prometheus",
        command=(
            found or "prometheus", f"--config.file={config}",
            f"--storage.tsdb.path={plan.home / 'prometheus'}",
            f"--web.listen-address={settings.host}:{settings.prometheus_port}",
        ),
        why_left_out=lambda: None if found else "it is not installed: `apt-get install prometheus` as root",
        ports={"STACK_PROMETHEUS_PORT": settings.prometheus_port},
        # The file holds the passwords of what it reads.
        prepare=lambda: write_private(config, yaml.safe_dump(configuration(plan), sort_keys=False)),
        is_ready=lambda: is_answering(f"{settings.prometheus_url()}/-/ready"),
    )  # fmt: skip


def configuration(plan: Plan) -> dict[str, object]:
    """Return what Prometheus reads from where."""
    settings, secret = plan.settings, plan.credentials
    nodes = plan.ray_home / "prom_metrics_service_discovery.json"
    return {
        "global": {"scrape_interval": _INTERVAL},
        "rule_files": [str(plan.root / "infra" / "monitoring" / "alerts.yml")],
        "scrape_configs": [
            {
                "job_name": "serve",
                "authorization": {"credentials": secret.service_token},
                "static_configs": [{"targets": [f"{settings.host}:{settings.serve_port}"]}],
            },
            {
                "job_name": "prefect",
                "metrics_path": "/api/metrics",
                "basic_auth": {"username": settings.prefect_user, "password": secret.prefect_password},
                "static_configs": [{"targets": [f"{settings.host}:{settings.prefect_port}"]}],
            },
            # The head writes there where its nodes tell of themselves.
            {"job_name": "ray", "file_sd_configs": [{"files": [str(nodes)]}]},
        ],
    }
