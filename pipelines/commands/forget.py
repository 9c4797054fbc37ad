"""`lia forget`: takes a video, or all of a person, out of the project for good.

A tombstone comes first, so that nothing is fetched again whatever happens after. Then go the files here,
their copies in DVC's cache and remotes, in every version, and the pictures in MLflow and in pages. Then the
data set is decided anew without them. Models stay: those trained on a video are named. Killed at any point,
the same command again finishes.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from lia_model.registry.lineage import TrainedRun, pictures_showing, runs_trained_on
from lia_model.registry.runs import Run
from pipelines.environment import Environment
from pipelines.local.data_versions import Copies, DataVersions
from pipelines.params import Params
from pipelines.stages.rebuild import RebuildError, last_words, run_logged
from preprocessing.download.raw_folder import receiving_root
from preprocessing.ledger import iterate_sources, read_clip_rows
from preprocessing.shards.writer import BUNDLE as SHARDS_BUNDLE
from preprocessing.shards.writer import SPLITS, tars_with
from preprocessing.sources.source import Source, source_key
from preprocessing.sources.source_list import read_valid_sources
from preprocessing.sources.tombstones import add_tombstones
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)
_KEY = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Takedown:
    """What goes, and what cannot be taken back."""

    videos: dict[str, str]
    """Address of each video by its key; empty where only the key is known."""
    files: list[Path]
    """Files and folders of this checkout that show them."""
    shards: list[str]
    """Tars of data/shards that hold their clips, such as train/00003.tar."""
    copies: Copies
    """What DVC stores of them."""
    bundles: list[str]
    """What LIA_STORE_URL keeps of them."""
    runs: list[TrainedRun]
    """Trainings that saw them."""
    pictures: dict[str, list[str]]
    """MLflow artifacts that show them, by run id."""


def survey(name: str, params: Params, environment: Environment, versions: DataVersions) -> Takedown:
    """Find everything that the project holds of what is called `name`; nothing is changed.

    Args:
        name: a video's address or its key, a source_id, or an identity; the latter two mean whole videos.
        params: say where the list is.
        environment: the project.
        versions: what DVC stores.

    Raises:
        ValueError: nothing has that name, or a list or a remote cannot be read.
    """
    listed = read_valid_sources(environment.root / params.download.sources).sources
    videos = find_videos(name, listed, environment)
    keys = videos.keys()
    shards = list(_shards_with(environment.shards, keys))
    runs = runs_trained_on(keys)
    return Takedown(
        videos=videos,
        files=sorted(_files(environment, keys, bool(shards))),
        shards=shards,
        copies=versions.find(keys),
        bundles=sorted(_bundles(environment.store(), keys, bool(shards))),
        runs=runs,
        pictures=pictures_showing(keys, runs),
    )


def find_videos(name: str, listed: Sequence[Source], environment: Environment) -> dict[str, str]:
    """Return the videos that `name` means, address by key.

    Raises:
        ValueError: none.
    """
    before = environment.source_ledger
    known = [*listed, *(iterate_sources(before) if before.is_file() else ())]
    if _KEY.fullmatch(name) or "://" in name:
        key = name if _KEY.fullmatch(name) else source_key(name)
        return {key: next((source.url for source in known if source.key == key), "")}
    found = {source.key: source.url for source in known if name in (source.source_id, source.identity)}
    clips = environment.ledger / "clips.parquet"
    if clips.is_file():
        # People that the list does not name have names in the ledger.
        found |= {row.source_key: row.url for row in read_clip_rows(clips) if row.identity == name}
    if not found:
        raise ValueError(
            f"got {name!r}, which is no source_id or identity in the list of sources or the ledger; name one "
            "of these, or the video's address"
        )
    return found


def as_lines(takedown: Takedown, environment: Environment) -> list[str]:
    """Say what would go and what would be left."""
    copies = takedown.copies
    lines = [f"video {key} {url}".rstrip() for key, url in sorted(takedown.videos.items())]
    files = [str(path.relative_to(environment.root)) for path in takedown.files if path != environment.shards]
    stored = [f"{len(oids)} objects in {name}" for name, oids in copies.objects.items() if oids]
    lines += _listing("made anew without it: data/shards/", takedown.shards)
    lines += _listing("removed here: ", files)
    lines += _listing("removed from DVC: ", stored)
    lines += _listing("removed from the store: ", takedown.bundles)
    pictures = [f"{run_id}/{path}" for run_id, paths in takedown.pictures.items() for path in paths]
    lines += _listing("removed from MLflow: ", pictures)
    lines += _listing("no longer to be checked out: data of commit ", copies.versions)
    lines += _listing("trained on it, and kept: ", takedown.runs)
    lines += _listing("kept, for another video has the same bytes; forget it too: ", copies.shared)
    return lines


def as_json(takedown: Takedown, environment: Environment) -> str:
    """Say the same for programs, as one JSON document."""
    told = asdict(takedown) | {"files": [str(path.relative_to(environment.root)) for path in takedown.files]}
    return json.dumps(told, indent=1)


def carry_out(takedown: Takedown, environment: Environment, versions: DataVersions) -> None:
    """Write the tombstones and remove everything that `takedown` names.

    Raises:
        ValueError: DVC is at work in the project.
    """
    with versions.locked():
        add_tombstones(environment.tombstones, takedown.videos, date.today())
        for path in takedown.files:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        versions.remove(takedown.copies)
        store = environment.store()
        if store is not None:
            for bundle in takedown.bundles:
                store.remove(bundle)
        for run_id, paths in takedown.pictures.items():
            Run(run_id).delete_files(paths)


def rebuild(environment: Environment) -> None:
    """Bring ledger and shards up to date, as far as they have been made.

    Raises:
        RebuildError: a stage failed; what was to be removed is removed.
    """
    if not environment.source_ledger.is_file():
        return
    stage = "shards" if (environment.ledger / "clips.parquet").is_file() else "download"
    returncode, lines = run_logged(["dvc", "repro", stage], environment, logger)
    if returncode != 0:
        raise RebuildError(
            f"all of it is removed, but the data set could not be made anew ({last_words(lines)}); mend that "
            f"and run `dvc repro {stage}`"
        )


def _listing(what: str, items: Sequence[object]) -> Iterator[str]:
    yield from (f"{what}{item}" for item in items)


def _files(environment: Environment, keys: AbstractSet[str], in_shards: bool) -> Iterator[Path]:
    places = (
        environment.raw,
        receiving_root(environment.raw),
        environment.tracks,
        environment.clips,
        environment.metrics / "pictures",
    )
    for folder in places:
        yield from (path for path in _children(folder) if not keys.isdisjoint(_KEY.findall(path.name)))
    page = environment.metrics / "evaluation.html"
    if page.is_file() and not keys.isdisjoint(_KEY.findall(page.read_text())):
        yield page
    report = environment.shards / "report.html"
    if in_shards:
        # As a whole: it is made anew at once, and half of it would be of no use.
        yield from (path for path in (environment.shards, environment.root / "out" / "demo") if path.exists())
    elif report.is_file() and not keys.isdisjoint(_KEY.findall(report.read_text())):
        yield report


def _bundles(store: Store | None, keys: AbstractSet[str], in_shards: bool) -> Iterator[str]:
    if store is None:
        return
    for folder in ("raw", "clips"):
        yield from (f"{folder}/{name}" for name in store.names(folder) if name.split("-")[0] in keys)
    if in_shards and store.names(SHARDS_BUNDLE):
        yield SHARDS_BUNDLE


def _shards_with(folder: Path, keys: AbstractSet[str]) -> Iterator[str]:
    for split in SPLITS:
        path = folder / split / "index.npz"
        if path.is_file():
            with path.open("rb") as index:
                yield from (f"{split}/{name}" for name in tars_with(index, keys))


def _children(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()
