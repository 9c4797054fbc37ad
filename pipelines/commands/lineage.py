"""`lia lineage`: from a model to what it was made of, and from a video to the models trained on it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lia_model.registry.licences import licences_in
from lia_model.registry.lineage import TrainedRun, runs_trained_on
from lia_model.registry.origin import Origin, origin_of
from pipelines.commands.known_videos import find_videos, known_sources, spelled_keys, usual_keys
from pipelines.commands.takedown import tars_with
from pipelines.local.reports import Row
from pipelines.project_paths import ProjectPaths
from preprocessing.sources.source_list import read_valid_sources
from preprocessing.sources.tombstones import read_tombstones

_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class ModelLineage:
    """What a model was made of."""

    origin: Origin
    urls: Mapping[str, str]
    """URL by the key of a video, of those that the list of sources or the ledger has."""
    forgotten: Collection[str]
    """Keys with a tombstone."""

    @property
    def rows(self) -> list[Row]:
        """Return what and its value, a row each, for a terminal."""
        return list(self._rows(self.origin))

    @property
    def document(self) -> dict[str, object]:
        """Return the same for programs, with all settings."""
        return self._document(self.origin)

    def _rows(self, origin: Origin) -> Iterator[Row]:
        version = origin.version
        yield (
            "model",
            origin.uri if version is None else f"{version.uri} {', '.join(version.aliases)}".strip(),
        )
        if version is not None:
            yield "gate", version.gate_reason or version.gate
            yield from (("licence", f"{part}: {note}") for part, note in licences_in(version.tags).items())
        yield "run", _UNKNOWN if origin.run_id is None else f"{origin.run_name} {origin.run_id}"
        yield "commit", origin.commit or _UNKNOWN
        yield "data", origin.data_digest or _UNKNOWN
        yield "evaluation list", origin.evaluation_list_sha256 or _UNKNOWN
        yield from (("metric", f"{name} {value:.6g}") for name, value in origin.metrics.items())
        yield "settings", f"{len(origin.params)}, in --json" if origin.params else _UNKNOWN
        if not origin.source_keys:
            yield "source", _UNKNOWN
        for key in origin.source_keys:
            yield (
                "source",
                f"{key} {self.urls.get(key, '')}{' (forgotten)' * (key in self.forgotten)}".strip(),
            )
        if origin.parent is not None:
            yield from ((f"parent {what}", value) for what, value in self._rows(origin.parent))

    def _document(self, origin: Origin) -> dict[str, object]:
        version = origin.version
        return {
            "model": origin.uri,
            "aliases": [] if version is None else list(version.aliases),
            "gate": None if version is None else {"verdict": version.gate, "reason": version.gate_reason},
            "licences": {} if version is None else licences_in(version.tags),
            "run": None if origin.run_id is None else {"id": origin.run_id, "name": origin.run_name},
            "commit": origin.commit,
            "data_digest": origin.data_digest,
            "evaluation_list_sha256": origin.evaluation_list_sha256,
            "metrics": dict(origin.metrics),
            "params": dict(origin.params),
            "sources": [
                {"key": key, "url": self.urls.get(key), "forgotten": key in self.forgotten}
                for key in origin.source_keys
            ],
            "parent": None if origin.parent is None else self._document(origin.parent),
        }


def model_lineage(uri: str, source_list: Path, paths: ProjectPaths) -> ModelLineage:
    """Return what the model at a URI was made of.

    Raises:
        ValueError: there is no such model, or the list of sources cannot be read.
    """
    listed = read_valid_sources(source_list).sources if source_list.is_file() else ()
    urls = {source.key: source.url for source in known_sources(listed, paths.ledger)}
    forgotten = read_tombstones(paths.tombstones) if paths.tombstones.is_file() else ()
    return ModelLineage(origin_of(uri), urls, forgotten)


@dataclass(frozen=True)
class SourceLineage:
    """Where some videos went."""

    videos: Mapping[str, str]
    """URL by key."""
    shards: Collection[str]
    """Tars of data/shards that hold their clips."""
    runs: Collection[TrainedRun]
    """Runs trained on them, with the versions registered from each."""

    @property
    def rows(self) -> list[Row]:
        """Return what and its name, a row each, for a terminal."""
        return [
            *(("video", f"{key} {url}".strip()) for key, url in sorted(self.videos.items())),
            *(("shard", name) for name in self.shards or ["none"]),
            *((("run", f"{run.name} {run.run_id}") for run in self.runs) if self.runs else [("run", "none")]),
            *(("version", version) for run in self.runs for version in run.versions),
        ]

    @property
    def document(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "videos": dict(self.videos),
            "shards": list(self.shards),
            "runs": [{"id": run.run_id, "name": run.name, "versions": run.versions} for run in self.runs],
        }


def source_lineage(name: str, source_list: Path, paths: ProjectPaths) -> SourceLineage:
    """Return which shards hold the videos that a name stands for, and which models were trained on them.

    Args:
        name: a URL in any spelling, a key, a source_id or an identity.
        source_list: the list of sources.
        paths: of the project.

    Raises:
        ValueError: nothing has that name.
    """
    known = known_sources(read_valid_sources(source_list).sources, paths.ledger)
    videos = find_videos(name, known, read_tombstones(paths.tombstones))
    keys = {*videos, *spelled_keys(name, videos, known), *usual_keys(videos.values())}
    return SourceLineage(videos, list(tars_with(paths.shards, keys)), runs_trained_on(keys))
