"""The page of the HTTP interface, from the OpenAPI description that the service gives of itself."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from docs.generate.tables import table
from lia_model.animation.media_check import check_media
from lia_model.animator import Animator
from lia_model.networks.build import build_generator
from lia_model.serving.access.batch_folders import BatchFolders
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.api import build_api
from lia_model.serving.database import open_database, sqlite_url
from lia_model.serving.interactive.direction_names import NamesInFile
from lia_model.serving.interactive.live_model import LiveModel
from lia_model.serving.interactive.live_requests import LiveRequests
from lia_model.serving.interactive.routes import live_routes
from lia_model.serving.interactive.samples import samples_routes
from lia_model.serving.jobs import JobStore, RetryRules
from lia_model.serving.jobs.heartbeat import Heartbeat
from lia_model.serving.jobs.media import JobMedia
from lia_model.serving.messages import ModelVersion
from lia_model.serving.models.catalog import ModelCatalog
from lia_model.serving.requests.limits import ApiLimits
from lia_model.settings import NetworkSettings
from pipelines.params import Params

_METHODS = ("get", "put", "post", "delete", "patch")


def http_page(params: Params) -> str:
    """Return the page in Markdown."""
    document = openapi(params)
    parts = [
        "# HTTP reference\n",
        "Generated from the OpenAPI description, which a service gives at `/openapi.json`. Errors are "
        'JSON: `{"error": {"code", "message"}}`. How to get a token: [Serving](serving.md#tokens).\n',
    ]
    for path, methods in document["paths"].items():
        parts += [_call(path, method, methods[method], document) for method in _METHODS if method in methods]
    return "\n".join(parts)


def openapi(params: Params) -> dict[str, Any]:
    """Return the description of the whole service, made without starting it."""
    serve = params.serve
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        jobs = JobStore(open_database(sqlite_url(root / "jobs.sqlite")), RetryRules())
        limits = ApiLimits(
            BatchFolders(root, (root,), (root,)),
            JobMedia(root / "media"),
            Tokens(None, None),
            serve.max_upload_bytes,
            serve.max_num_queued,
            serve.max_num_batch_items,
            serve.requests,
            serve.max_stored_bytes,
        )
        version = ModelVersion(name="lia", version="1")
        check = partial(check_media, limits=serve.media)
        network = NetworkSettings(width=1 / 32, latent_dim=32, num_directions=4, size_px=32)
        model = LiveModel(Animator(build_generator(network, seed=0), "cpu", "fp32"), None)
        live = LiveRequests(model, NamesInFile(root / "names"), version, root, check)
        routes = (live_routes(live), samples_routes(None))
        workers = Heartbeat(root / "worker")
        return build_api(jobs, ModelCatalog(version), limits, check, workers, routes).openapi()


def _call(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    scopes = [scope for one in operation.get("security", ()) for names in one.values() for scope in names]
    needs = f"Scope: `{scopes[0]}`." if scopes else "Needs no token."
    parts = [
        f"## {method.upper()} {path}\n",
        operation.get("description") or operation.get("summary", ""),
        f"\n{needs}\n",
    ]
    fields = [
        (
            f"`{one['name']}`",
            one["in"],
            _kind(one["schema"], document),
            one.get("description") or _words(one["schema"]),
        )
        for one in operation.get("parameters", ())
    ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(content["schema"], document)
        fields += [
            (f"`{name}`", media_type, _kind(one, document), _words(one))
            for name, one in schema.get("properties", {}).items()
        ]
        if "example" in content:
            parts.append(f"```json\n{json.dumps(content['example'], indent=2)}\n```\n")
    if fields:
        parts.append(table(("field", "in", "type", "meaning"), fields))
    answers = [(status, one.get("description", "")) for status, one in operation["responses"].items()]
    parts.append(table(("status", "meaning"), answers))
    for status, answer in operation["responses"].items():
        for content in answer.get("content", {}).values():
            if status.startswith("2") and "example" in content:
                parts.append(f"```json\n{json.dumps(content['example'], indent=2)}\n```\n")
    return "\n".join(parts)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _kind(schema: dict[str, Any], document: dict[str, Any]) -> str:
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return " or ".join(_kind(one, document) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    bounds = [
        f"{word} {schema[name]}" for name, word in (("minimum", "≥"), ("maximum", "≤")) if name in schema
    ]
    return " ".join([schema.get("type", "any"), *bounds])


def _words(schema: dict[str, Any]) -> str:
    default = f" Default: `{schema['default']}`." if "default" in schema else ""
    return schema.get("description", "") + default
