"""From a video to the runs trained on it, their registered versions and the pictures that show it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lia_model.registry.runs import CARDS, EVALUATION, EVALUATION_PICTURES, GOLDEN, STRIPS, Run, all_runs
from lia_model.registry.versions import versions_of_run

_NAMED_BY_CLIPS = (EVALUATION_PICTURES, GOLDEN)
"""Folders of a run whose files are named by the keys of the clips they show."""


@dataclass(frozen=True)
class TrainedRun:
    """A training run and the versions registered from it."""

    run_id: str
    """MLflow's id."""
    name: str
    """The run's name."""
    versions: list[str]
    """Registered versions with their aliases, such as `lia 3 (champion)`."""

    def __str__(self) -> str:
        return f"run {self.name} ({', '.join(self.versions) or 'not registered'})"


def runs_trained_on(source_keys: Collection[str]) -> list[TrainedRun]:
    """Return the runs whose model, or the one it started from, was trained on any of the videos."""
    found = [
        (run_id, name) for run_id, name in all_runs() if not Run(run_id).source_keys().isdisjoint(source_keys)
    ]
    return [
        TrainedRun(run_id, name, [version.label for version in versions_of_run(run_id)])
        for run_id, name in found
    ]


def pictures_showing(source_keys: Collection[str], trained: Sequence[TrainedRun]) -> dict[str, list[str]]:
    """Return, by run id, the artifacts that show any of the videos.

    Sample strips do not record which clips they show, so those of every run in `trained` are included, and
    those of every run that was validated on any of the videos.
    """
    trained_ids = {run.run_id for run in trained}
    pictures: dict[str, list[str]] = {}
    for run_id, _ in all_runs():
        run = Run(run_id)
        named = {folder: _naming(run.file_names(folder), source_keys) for folder in _NAMED_BY_CLIPS}
        shown = [path for paths in named.values() for path in paths]
        if named[EVALUATION_PICTURES]:
            pages = (*run.file_names(EVALUATION), *run.file_names(CARDS))
            shown += [path for path in pages if path.endswith(".html")]
        if run_id in trained_ids or not run.validated_source_keys().isdisjoint(source_keys):
            shown += [path for path in run.file_names("") if path == STRIPS]
        if shown:
            pictures[run_id] = shown
    return pictures


def _naming(paths: Sequence[str], source_keys: Collection[str]) -> list[str]:
    return [path for path in paths if any(key in path for key in source_keys)]
