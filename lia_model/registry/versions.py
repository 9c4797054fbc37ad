"""The registered versions of a model: their aliases, the gate's verdict on them and the runs behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lia_model.registry.models import parse_model_uri
from lia_model.registry.runs import mlflow_client

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

GATE_TAG = "lia.gate"
"""`passed` or `refused`; missing if the gate has not judged the version."""
REASON_TAG = "lia.gate_reason"


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str
    aliases: tuple[str, ...]
    """In alphabetical order."""
    registered: datetime
    """In UTC."""
    run_id: str | None
    """MLflow's id of the run that trained it."""
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """Return its model URI."""
        return f"models:/{self.name}/{self.version}"

    @property
    def label(self) -> str:
        """Return its name for a sentence, such as `lia 3 (champion)`."""
        return f"{self.name} {self.version}" + (f" ({', '.join(self.aliases)})" if self.aliases else "")

    @property
    def gate(self) -> str:
        """Return `passed`, `refused` or `not judged`."""
        return self.tags.get(GATE_TAG, "not judged")

    @property
    def gate_reason(self) -> str:
        """Return the gate's reason; empty if it has not judged the version."""
        return self.tags.get(REASON_TAG, "")


def versions_of(name: str) -> list[Version]:
    """Return all versions of a model, the newest first.

    Raises:
        ValueError: no such model is registered; the message names those that are.
    """
    client = mlflow_client()
    known = sorted(one.name for one in client.search_registered_models())
    if name not in known:
        raise ValueError(
            f"got model {name!r}, which is not registered; registered are {', '.join(known) or 'none yet'}: "
            "name one of them, or register one with `lia release`"
        )
    found = list(_with_aliases(f"name = '{name}'"))
    return sorted(found, key=lambda one: int(one.version), reverse=True)


def versions_of_run(run_id: str) -> list[Version]:
    """Return the versions that were registered from a run, the oldest first."""
    found = _with_aliases(f"run_id = '{run_id}'")
    return sorted(found, key=lambda one: (one.name, int(one.version)))


def version_at(uri: str) -> Version:
    """Return the version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` stands for now.

    Raises:
        ValueError: the URI has another form, or there is no such version.
    """
    name, wanted = parse_model_uri(uri)
    versions = versions_of(name)
    found = [one for one in versions if wanted == one.version or wanted in one.aliases]
    if not found:
        known = ", ".join(one.label for one in versions) or "none"
        raise ValueError(f"got {uri}; there is no such version or alias: registered are {known}")
    return found[0]


def _with_aliases(condition: str) -> Iterator[Version]:
    client = mlflow_client()
    aliases: dict[str, Mapping[str, object]] = {}
    token = None
    while True:
        page = client.search_model_versions(condition, page_token=token)
        for entry in page:
            if entry.name not in aliases:
                aliases[entry.name] = client.get_registered_model(entry.name).aliases
            yield _version(entry, aliases[entry.name])
        token = page.token
        if not token:
            return


def _version(entry: ModelVersion, aliases: Mapping[str, object]) -> Version:
    number = str(entry.version)
    return Version(
        name=entry.name,
        version=number,
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == number)),
        registered=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        run_id=entry.run_id or None,
        tags=dict(entry.tags),
    )
