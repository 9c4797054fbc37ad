"""`lia models`: the registered versions, their aliases, the gate's verdict, and what the service uses."""

import logging
from collections.abc import Sequence

from lia_model.registry.versions import Version, versions_of
from lia_model.serving.client import Client
from lia_model.serving.client.errors import NoServiceError, RefusedError
from lia_model.serving.messages import project_mark
from pipelines.environment import Environment
from pipelines.local.reports import Row

_HEAD = ("version", "aliases", "registered", "gate", "served at", "reason")

logger = logging.getLogger(__name__)


def model_rows(name: str, environment: Environment) -> tuple[list[Row], list[dict[str, object]]]:
    """Return the versions of a model, the newest first, as rows for a terminal and as a document.

    Raises:
        ValueError: no such model is registered.
    """
    url = f"http://{environment.host}:{environment.serve_port}"
    served = _served_at(url, environment)
    versions = versions_of(name)
    return rows_of(versions, served, url), [_record(one, served, url) for one in versions]


def rows_of(versions: Sequence[Version], served: set[str], url: str) -> list[Row]:
    """Return a head and a row a version; `served` holds the URIs of those that the service at `url` uses."""
    rows = [
        (
            one.version,
            ", ".join(one.aliases),
            f"{one.registered:%Y-%m-%d %H:%M}",
            one.gate,
            url if one.uri in served else "",
            one.gate_reason,
        )
        for one in versions
    ]
    return [_HEAD, *rows]


def _record(one: Version, served: set[str], url: str) -> dict[str, object]:
    return {
        "name": one.name,
        "version": one.version,
        "aliases": list(one.aliases),
        "registered": one.registered.isoformat(),
        "run_id": one.run_id,
        "gate": one.gate,
        "reason": one.gate_reason,
        "served_at": url if one.uri in served else None,
        "tags": dict(one.tags),
    }


def _served_at(url: str, environment: Environment) -> set[str]:
    """Return the URIs of the models that the project's service animates with; none if it does not run."""
    try:
        with Client(url, environment.api_token, away_s=0, full_s=0) as client:
            if client.project() != project_mark(environment.paths.root):
                return set()
            return {model.uri for model in client.models().models}
    except NoServiceError:
        return set()
    except RefusedError as error:
        logger.warning("the service at %s does not say what it serves: %s", url, error)
        return set()
