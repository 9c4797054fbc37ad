"""infra/stack.env and the secrets, and how compose puts variables in place."""

import re

from tests.conftest import CHECKOUT

STACK_ENV = CHECKOUT / "infra/stack.env"
SECRETS = {
    f"STACK_{name}"
    for name in (
        "POSTGRES_PASSWORD", "S3_KEY_ID", "S3_SECRET", "MLFLOW_PASSWORD", "MLFLOW_SESSION_KEY",
        "PREFECT_PASSWORD", "RAY_TOKEN", "SERVICE_TOKEN", "METRICS_TOKEN", "GRAFANA_PASSWORD",
    )
}  # fmt: skip
"""Of infra/secrets.env and of Kubernetes' Secret."""
_VARIABLE = re.compile(r"\$\{(\w+)(:\?)?\}")


def stack_variables():
    lines = STACK_ENV.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def variables_in(text):
    """Return the variables of a file, and those that it requires."""
    found = _VARIABLE.findall(text)
    return {name for name, _ in found}, {name for name, is_required in found if is_required}


def interpolated(node, values):
    """Return the parsed file with `${NAME}` and `$$` replaced as compose does."""
    if isinstance(node, dict):
        return {key: interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, values) for value in node]
    if isinstance(node, str):
        return _VARIABLE.sub(lambda found: values[found[1]], node).replace("$$", "$")
    return node
