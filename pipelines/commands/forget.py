"""`lia forget`: removes videos, or all videos of an identity, from the project and all its versions.

Tombstones are written first, so that nothing is downloaded again whatever happens next. Then the files here,
their copies in DVC's cache and remotes and in the store, and pictures in MLflow and pages are removed, and
ledger and shards are rebuilt without them. Models are kept; those trained on a video are named. The same
command completes an interrupted removal.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from lia_model.registry.runs import Run
from pipelines.child_programs import ProgramError, run_logged
from pipelines.commands.takedown import Takedown
from pipelines.local.data_versions import DataVersions
from pipelines.project_paths import ProjectPaths
from preprocessing.sources.tombstones import add_tombstones
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)


class RebuildError(Exception):
    """The data set could not be rebuilt after a removal."""


def takedown_lines(takedown: Takedown, root: Path) -> list[str]:
    """Format the takedown for a terminal, with paths relative to `root`."""
    copies = takedown.copies
    lines = [f"video {key} {url}".rstrip() for key, url in sorted(takedown.videos.items())]
    files = [path for path in _relative_files(takedown, root) if path != "data/shards"]
    stored = [f"{len(oids)} objects in {name}" for name, oids in copies.objects.items() if oids]
    lines += _listing("rebuilt without it: data/shards/", takedown.shards)
    lines += _listing("removed here: ", files)
    lines += _listing("removed from DVC: ", stored)
    lines += _listing("removed from the store: ", takedown.bundles)
    if takedown.store_versions:
        lines.append("removed from the store, which keeps old versions: those of these videos and of shards/")
    pictures = [f"{run_id}/{path}" for run_id, paths in takedown.pictures.items() for path in paths]
    lines += _listing("removed from MLflow: ", pictures)
    lines += _listing("can no longer be checked out: data of commit ", copies.versions)
    lines += _listing("trained on it, and kept: ", takedown.runs)
    lines += _listing("kept, since another video has the same bytes; forget it too: ", copies.shared)
    return lines


def takedown_json(takedown: Takedown, root: Path) -> str:
    """Format the takedown as one JSON document."""
    return json.dumps(asdict(takedown) | {"files": _relative_files(takedown, root)}, indent=1)


def carry_out(takedown: Takedown, tombstones: Path, store: Store | None, versions: DataVersions) -> None:
    """Write the tombstones, then remove everything that `takedown` names.

    Raises:
        ValueError: DVC is at work in the project.
    """
    with versions.locked():
        add_tombstones(tombstones, {*takedown.videos, *takedown.other_keys}, date.today())
        for path in takedown.files:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        versions.remove(takedown.copies)
        if store is not None:
            for bundle in takedown.bundles:
                store.remove(bundle)
            for prefix in takedown.store_versions:
                store.remove_old_versions(prefix)
        for run_id, paths in takedown.pictures.items():
            Run(run_id).delete_files(paths)


def rebuild(paths: ProjectPaths, variables: Mapping[str, str]) -> None:
    """Run the stages that have run before, so that ledger and shards are up to date.

    Args:
        paths: of the project.
        variables: read by the tools underneath, from `Environment.tool_variables`.

    Raises:
        RebuildError: a stage failed; the removal itself is complete.
    """
    if not paths.source_ledger.is_file():
        return
    stage = "shards" if (paths.ledger / "clips.parquet").is_file() else "download"
    try:
        run_logged(["dvc", "repro", stage], paths.root, variables, logger)
    except ProgramError as error:
        raise RebuildError(
            f"everything is removed, but the data set could not be rebuilt ({error.reason}); fix that "
            f"and run `dvc repro {stage}`"
        ) from error


def _relative_files(takedown: Takedown, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in takedown.files]


def _listing(what: str, items: Sequence[object]) -> Iterator[str]:
    yield from (f"{what}{item}" for item in items)
