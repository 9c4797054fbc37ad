"""The animation service on the Ray cluster, its queue in PostgreSQL and its files in the S3 store."""

import sys
import urllib.error
from pathlib import Path

from infra.stack.answers import is_answering, json_of
from infra.stack.plan import Plan, Service
from lia_model.registry.aliases import ALIASES
from pipelines.params import read_params


def animation_service(plan: Plan) -> Service:
    """Return the service of the project's champion, or of its challenger while there is no champion."""
    settings = plan.settings
    lia = str(Path(sys.executable).parent / "lia")
    return Service(
        name="serve",
        title="the animation service",
        command=(
            sys.executable, lia, "serve", "--host", settings.host, "--port", str(settings.serve_port),
        ),
        late_arguments=lambda: ("--model", f"models:/{_model_name(plan)}@{released_alias(plan)}"),
        why_left_out=lambda: _why_left_out(plan),
        ports={"STACK_SERVE_PORT": settings.serve_port},
        variables=plan.client_variables(),
        is_ready=lambda: is_answering(f"{settings.service_url()}/healthz"),
    )  # fmt: skip


def released_alias(plan: Plan) -> str | None:
    """Return `champion`, else `challenger`, else None if neither names a version.

    Raises:
        OSError: MLflow does not answer.
    """
    for alias in ALIASES:
        path = f"api/2.0/mlflow/registered-models/alias?name={_model_name(plan)}&alias={alias}"
        try:
            json_of(f"{plan.settings.mlflow_url()}/{path}", plan.mlflow_headers())
        except urllib.error.HTTPError as error:
            # MLflow's answer to an unknown alias of a known model is 400.
            if error.code not in (400, 404):
                raise
        else:
            return alias
    return None


def _why_left_out(plan: Plan) -> str | None:
    try:
        if released_alias(plan) is not None:
            return None
    except OSError as error:
        return f"MLflow does not answer ({error})"
    name = _model_name(plan)
    return f"no version of {name} is released; after `lia release`, `make stack` starts it"


def _model_name(plan: Plan) -> str:
    return read_params(plan.root / "params.yaml").release.name
