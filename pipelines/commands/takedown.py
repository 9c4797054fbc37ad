"""What a takedown removes: everything in the project that shows some videos. Reads only."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from lia_model.registry.lineage import TrainedRun, pictures_showing, runs_trained_on
from lia_model.registry.run_sender import unsent_pictures
from pipelines.commands.known_videos import KEY, find_videos, known_sources, spelled_keys, usual_keys
from pipelines.local.data_versions import Copies, DataVersions
from pipelines.project_paths import ProjectPaths
from preprocessing.download.records.raw_folder import receiving_root
from preprocessing.shards.clip_index import INDEX_NAME, tars_of_sources
from preprocessing.shards.manifest import SPLITS, read_manifest
from preprocessing.shards.stored_shards import bundles_by_tar, fetch_listing
from preprocessing.sources.source_list import read_valid_sources
from preprocessing.sources.tombstones import read_tombstones
from preprocessing.storage.exchange import (
    SHARDS_BUNDLE,
    TARS,
    bundles_of_sources,
    prefixes_of_sources,
)
from preprocessing.storage.held_folder import held_folder
from preprocessing.storage.object_store import Store


@dataclass(frozen=True)
class Takedown:
    """What is removed, and what remains."""

    videos: dict[str, str]
    """URL of each video by its key; empty if only the key is known."""
    files: list[Path]
    """Files and folders of this checkout that show them; removed."""
    shards: list[str]
    """Tars of data/shards that hold their clips, such as train/00003.tar; rebuilt without them."""
    copies: Copies
    """Objects in DVC's cache and remotes; removed."""
    bundles: list[str]
    """Bundles of the store; removed."""
    runs: list[TrainedRun]
    """Training runs that used them; kept."""
    pictures: dict[str, list[str]]
    """MLflow artifacts that show them, by run id; removed."""
    other_keys: list[str] = field(default_factory=list)
    """Keys of other spellings of the URLs, under which videos may be stored; they get tombstones too."""
    store_versions: list[str] = field(default_factory=list)
    """What the names in the store begin with whose old versions are removed; empty if it keeps none."""


def survey(
    name: str,
    source_list: Path,
    paths: ProjectPaths,
    store: Store | None,
    versions: DataVersions,
    even_if_unknown: bool = False,
) -> Takedown:
    """Find everything in the project that shows what is called `name`.

    Args:
        name: a video's URL, in any spelling, or key, a source_id, or an identity; the latter two stand for
            whole videos.
        source_list: the list of sources.
        paths: of the project.
        store: where videos, clips and shards are kept too; None for nowhere.
        versions: the project's DVC repository.
        even_if_unknown: accept a URL or key that nothing here has.

    Raises:
        ValueError: nothing has that name, or a list or a remote cannot be read.
        StoreError: the store cannot be read.
    """
    known = known_sources(read_valid_sources(source_list).sources, paths.ledger)
    videos = find_videos(name, known, read_tombstones(paths.tombstones), even_if_unknown)
    others = spelled_keys(name, videos, known)
    keys = {*videos, *others, *usual_keys(videos.values())}
    shards = list(tars_with(paths.shards, keys))
    runs = runs_trained_on(keys)
    files = [*_files(_folders(paths), keys), *_pages(_page_files(paths), keys)]
    files += [folder for folder in unsent_pictures(paths.journals(), keys) if folder.is_dir()]
    if shards:
        # Removed as a whole: they are rebuilt at once, and a part of them is of no use.
        files = [path for path in files if paths.shards not in path.parents]
        files += [path for path in (paths.shards, paths.demo) if path.exists()]
    return Takedown(
        videos=videos,
        files=sorted(files),
        shards=shards,
        copies=versions.find(keys),
        bundles=sorted(_bundles(store, keys)),
        runs=runs,
        pictures=pictures_showing(keys, runs),
        other_keys=sorted(others),
        store_versions=prefixes_of_sources(keys) if store and store.keeps_old_versions() else [],
    )


def _folders(paths: ProjectPaths) -> tuple[Path, ...]:
    """Return the folders whose files and folders are named after the videos they show."""
    raw = paths.raw
    pictures = paths.metrics / "pictures"
    golden = paths.golden_pairs
    return raw, receiving_root(raw), paths.tracks, paths.clips, pictures, golden


def _page_files(paths: ProjectPaths) -> tuple[Path, ...]:
    """Return the pages that hold the keys of the videos they show."""
    return paths.metrics / "evaluation.html", paths.shards / "report.html"


def _files(folders: Iterable[Path], keys: AbstractSet[str]) -> Iterator[Path]:
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if not keys.isdisjoint(KEY.findall(path.name)):
                yield path


def _pages(pages: Iterable[Path], keys: AbstractSet[str]) -> Iterator[Path]:
    for page in pages:
        if page.is_file() and not keys.isdisjoint(KEY.findall(page.read_text())):
            yield page


def _bundles(store: Store | None, keys: AbstractSet[str]) -> Iterator[str]:
    if store is None:
        return
    yield from bundles_of_sources(store, keys)
    with held_folder("lia-takedown-") as place:
        shards = place / "shards"
        known = bundles_by_tar(read_manifest(shards)) if fetch_listing(store, shards) else {}
        found = list(tars_with(shards, keys))
    if found:
        yield SHARDS_BUNDLE
    # Of tars that no list has, which a killed run left, it is not known whom they show.
    listed = set(known.values()) - {known[name] for name in found}
    yield from (bundle for bundle in store.bundles(TARS) if bundle not in listed)


def tars_with(folder: Path, keys: AbstractSet[str]) -> Iterator[str]:
    """Yield the tars in a folder of shards that hold clips of any of the videos, such as train/00003.tar."""
    for split in SPLITS:
        path = folder / split / INDEX_NAME
        if path.is_file():
            yield from (f"{split}/{name}" for name in tars_of_sources(path, keys))
