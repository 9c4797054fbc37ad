"""The OpenAPI description: what FastAPI derives, the bearer token, and an example for each call."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lia_model.serving.access.scopes import required_scope
from lia_model.serving.http.access import OPEN_PATHS
from lia_model.serving.http.examples import ANSWERS, PARAMETERS, REQUESTS

SECURITY_SCHEME = "token"


def describe(api: FastAPI) -> dict[str, Any]:
    """Return the description of all routes, made once."""
    if api.openapi_schema is None:
        document = get_openapi(title=api.title, version=api.version, routes=api.routes)
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[SECURITY_SCHEME] = {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `lia token create`, unless the service runs without any. Each scope "
            "includes those before it: read, submit, admin (everybody's jobs).",
        }
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if path not in OPEN_PATHS:
                    operation["security"] = [{SECURITY_SCHEME: [required_scope(method.upper())]}]
                _add_examples(operation, f"{method.upper()} {path}")
        api.openapi_schema = document
    return api.openapi_schema


def _add_examples(operation: dict[str, Any], call: str) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
    if call in REQUESTS:
        for content in operation["requestBody"]["content"].values():
            content["example"] = REQUESTS[call]
    if call in ANSWERS:
        status = next(status for status in operation["responses"] if status.startswith("2"))
        for content in operation["responses"][status]["content"].values():
            content["example"] = ANSWERS[call]
