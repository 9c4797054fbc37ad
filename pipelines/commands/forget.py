"""`lia forget`: removes videos, or all videos of an identity, from the project and all its versions.

Tombstones are written first, so that nothing is downloaded again whatever happens next. Then the files here,
their copies in DVC's cache and remotes and in the store, and pictures in MLflow and pages are removed, and
ledger and shards are rebuilt without them. Models are kept; those trained on a video are named. The same
command completes an interrupted removal.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from lia_model.registry.runs import Run
from pipelines.commands.takedown import Takedown
from pipelines.environment import Environment
from pipelines.local.data_versions import DataVersions
from pipelines.stages.rebuild import RebuildError, last_words, run_logged
from preprocessing.sources.tombstones import add_tombstones
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)


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
        add_tombstones(tombstones, takedown.videos, date.today())
        for path in takedown.files:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        versions.remove(takedown.copies)
        if store is not None:
            for bundle in takedown.bundles:
                store.remove(bundle)
        for run_id, paths in takedown.pictures.items():
            Run(run_id).delete_files(paths)


def rebuild(environment: Environment) -> None:
    """Run the stages that have run before, so that ledger and shards are up to date.

    Raises:
        RebuildError: a stage failed; the removal itself is complete.
    """
    if not environment.source_ledger.is_file():
        return
    stage = "shards" if (environment.ledger / "clips.parquet").is_file() else "download"
    returncode, lines = run_logged(["dvc", "repro", stage], environment, logger)
    if returncode != 0:
        raise RebuildError(
            f"everything is removed, but the data set could not be rebuilt ({last_words(lines)}); fix that "
            f"and run `dvc repro {stage}`"
        )


def _relative_files(takedown: Takedown, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in takedown.files]


def _listing(what: str, items: Sequence[object]) -> Iterator[str]:
    yield from (f"{what}{item}" for item in items)
