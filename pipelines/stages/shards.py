"""Stage shards: every verified video becomes face-cropped clips in data/shards and rows in the ledger."""

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prefect import State, flow, get_run_logger, task
from prefect.states import Completed, Failed

from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.shards_log import log_doubts, log_outcomes, result_logger
from pipelines.stages.shards_metrics import write_counts
from pipelines.stages.shards_requirements import require_boxes, require_videos
from preprocessing.clips.crop import finds_faces
from preprocessing.clips.source_run import SourceTask
from preprocessing.clips.splitting.assignment import Assignment, assign
from preprocessing.clips.splitting.comparison import compare_people
from preprocessing.clips.splitting.disjointness import judge_disjointness
from preprocessing.clips.stored_result import SourceSummary, read_preview
from preprocessing.clips.units import DiskError, group_into_units, process_here
from preprocessing.faces.detector import LICENCE_NOTE, require_providers
from preprocessing.faces.networks import person_limits, require_networks
from preprocessing.ledger import SourceRow, read_source_rows, write_clips
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import ShardsSettings
from preprocessing.shards.contact_sheet import examples, write_contact_sheet
from preprocessing.shards.former_splits import former_splits
from preprocessing.shards.manifest import Manifest, Splits
from preprocessing.shards.stored_shards import fetch_listing, store_shards
from preprocessing.shards.writer import (
    NothingKeptError,
    describe_shards,
    require_training_clips,
    write_shards,
)
from preprocessing.sources.former_keys import match_former_keys, rename_stored, stored_keys
from preprocessing.sources.source import with_box_width
from preprocessing.storage.object_store import Store, StoreError

logger = logging.getLogger(__name__)

OPERATOR_ERRORS = (NothingKeptError, DiskError, StoreError, ValueError)
"""Errors that an operator can mend, reported in one line; any other is a bug and keeps its traceback."""
UNITS_PER_CHILD = 8
"""Few enough to cost nothing, enough for all child processes to finish at about the same time."""


class RayCluster(NamedTuple):
    """Where sources are processed, and for which work."""

    address: str | None
    """Of a running Ray cluster; None runs child processes on this machine."""
    correlation_id: str
    shared_store_url: str | None = None
    """Object store, if its machines share nothing else: it alone then gets clips and tars."""


def run_shards(params: Params, environment: Environment) -> int:
    """Make the shards from the downloaded videos; finished sources are reused. Return the exit code.

    It is 1 if a rerun may succeed for some source and `download.accept_incomplete` is off, else 0.

    Raises:
        ValueError: the ledger, the face networks, an execution provider of onnxruntime or a box that the crop
            rule needs are missing, videos are in a store that no variable names, or an identity is in two
            splits.
        NothingKeptError: no clip is left for training; the ledger says why.
        DiskError: the disk takes no more data.
        StoreError: the object store cannot be read or written.
        ClusterError: the Ray cluster of LIA_RAY_ADDRESS does not answer, or refuses this process.
    """
    paths = environment.paths
    if finds_faces(params.shards.crop):
        require_networks(paths.root, params.shards.detect, params.shards.identity)
        if environment.ray_address is None:
            require_providers(params.shards.detect.providers)
    sources = read_source_rows(paths.source_ledger)
    require_boxes(sources, params.shards.crop)
    if environment.store_url is None:
        require_videos(sources, paths)
    environment.check_store()
    environment.check_cluster()
    cluster = RayCluster(environment.ray_address, environment.correlation_id, environment.shared_store_url)
    state = shards_flow(sources, params.shards, paths, cluster, environment.store_url, return_state=True)
    if state.is_failed() and isinstance(state.data, OPERATOR_ERRORS):
        raise state.data
    is_incomplete = bool(state.result()) and not params.download.accept_incomplete
    if is_incomplete:
        logger.error(
            "the shards are incomplete: rerun `lia shards`, or set download.accept_incomplete to true"
        )
    return int(is_incomplete)


@flow(
    name="shards",
    flow_run_name="shards-{paths.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def shards_flow(
    sources: list[SourceRow],
    settings: ShardsSettings,
    paths: ProjectPaths,
    cluster: RayCluster,
    store_url: str | None,
) -> State:
    """Process every source, then write the ledger, the shards and the contact sheet.

    The result of the returned state is the number of failures for which a rerun may succeed.

    Args:
        sources: rows of the ledger.
        settings: of the stage.
        paths: of the project.
        cluster: to run on.
        store_url: where clips and shards are kept too; None for nowhere.
    """
    run_logger = get_run_logger()
    run_logger.info("detector %s: %s", settings.detect.models, LICENCE_NOTE)
    verified = [row for row in sources if row.download.status == DownloadStatus.VERIFIED]
    rename_former_keys(sources, paths)
    try:
        if store_url is not None and not paths.shards.exists():
            # They say to which split each video went.
            fetch_listing(Store(store_url), paths.shards)
        tasks = source_tasks(verified, settings, paths, store_url)
        results = process_all(tasks, settings.num_parallel, cluster)
        distance = person_limits(paths.root, settings.detect, settings.identity).person_distance
        former = former_splits(paths.shards, settings)
        assignment = assign([row.source for row in verified], results, settings, distance, former)
        rows, clips = assignment.rows, assignment.clips
        write_clips(paths.ledger / "clips.parquet", rows)
        write_counts(paths.metrics, rows, clips)
        try:
            require_training_clips(rows, sources)
            disjointness = judge_disjointness(rows, clips, compare_people(paths.root, settings))
            log_doubts(assignment, disjointness)
            detector = paths.root / settings.detect.models
            describe = partial(describe_shards, clips, rows, sources, settings, detector, disjointness)
            write_all(assignment, sources, settings, describe, paths, cluster)
        finally:
            log_outcomes(rows)
        if store_url is not None:
            store_shards(Store(store_url), paths.shards)
    except OPERATOR_ERRORS as error:
        # Returned rather than raised: Prefect would print a traceback above our one line.
        return Failed(message=str(error), data=error)
    # An output of the stage in dvc.yaml, also where the sightings are in the store alone.
    paths.tracks.mkdir(parents=True, exist_ok=True)
    listed = (row for row in sources if row.download.status != DownloadStatus.FORGOTTEN)
    remove_delisted({row.source.row_key for row in listed}, paths.tracks, paths.clips)
    num_retryable = sum(bool(row.retryable) for row in rows)
    return Completed(message=f"{len(clips)} clips", data=num_retryable)


def rename_former_keys(sources: Sequence[SourceRow], paths: ProjectPaths) -> None:
    """Rename sightings and clips that were stored under another spelling of a listed URL."""
    listed = [row.source for row in sources if row.download.status == DownloadStatus.VERIFIED]
    strays = (stored_keys(paths.tracks) | stored_keys(paths.clips)) - {source.key for source in listed}
    current = match_former_keys(strays, listed)
    for folder in (paths.tracks, paths.clips):
        rename_stored(folder, current)


def source_tasks(
    verified: Sequence[SourceRow], settings: ShardsSettings, paths: ProjectPaths, store_url: str | None
) -> list[SourceTask]:
    """Return one task for each listed part of each verified video."""
    return [
        SourceTask(
            source=with_box_width(row.source, (row.download.width_px, row.download.height_px)),
            video=paths.raw / str(row.download.file),
            video_sha256=str(row.download.sha256),
            root=paths.root,
            settings=settings,
            tracks=paths.tracks,
            clips=paths.clips,
            store_url=store_url,
        )
        for row in verified
    ]


@task(name="process sources", persist_result=False, retries=1, retry_delay_seconds=5)
def process_all(tasks: list[SourceTask], num_parallel: int, cluster: RayCluster) -> list[SourceSummary]:
    """Process the sources in units, in parallel; results come in the order of `tasks`.

    Args:
        tasks: one per source.
        num_parallel: number of sources processed at the same time.
        cluster: to run on.
    """
    units = group_into_units(tasks, UNITS_PER_CHILD * num_parallel, lambda one: one.source)
    log_result = result_logger(len(tasks))
    if cluster.address is None:
        results = process_here(units, num_parallel, log_result)
    else:
        from pipelines.local.cluster import joined, process_on_cluster

        with joined(cluster.address, cluster.correlation_id):
            is_apart = cluster.shared_store_url is not None
            results = process_on_cluster(units, num_parallel, log_result, is_apart=is_apart)
    found = {result.row_key: result for result in results}
    return [found[one.source.row_key] for one in tasks]


@task(name="write shards", persist_result=False)
def write_all(
    assignment: Assignment,
    sources: list[SourceRow],
    settings: ShardsSettings,
    describe: Callable[[Splits], Manifest],
    paths: ProjectPaths,
    cluster: RayCluster,
) -> None:
    """Write the folder of shards: tars, index, manifest and contact sheet.

    Args:
        assignment: rows and kept clips.
        sources: all sources, for the counts.
        settings: of the stage.
        describe: returns the manifest.
        paths: of the project; `shards` is written.
        cluster: makes the tars if its machines share nothing but a store.
    """
    rows, store_url = assignment.rows, cluster.shared_store_url
    shown = [row for chosen in examples(rows).values() for row in chosen]
    if cluster.address is not None and store_url is not None:
        from pipelines.stages.shards_apart import fetch_previews, tars_by_cluster

        make_tars = tars_by_cluster(cluster.address, cluster.correlation_id, settings.num_parallel, store_url)
        pictures = fetch_previews(Store(store_url), shown)
    else:
        make_tars = None
        pictures = {row.key: read_preview(paths.clips, row.row_key, row.key) for row in shown}
    write_shards(assignment.clips, settings.shard_bytes, paths.shards, describe, make_tars)
    write_contact_sheet(paths.shards / "report.html", sources, rows, pictures)


def remove_delisted(row_keys: Collection[str], tracks: Path, clips: Path) -> None:
    """Remove the sightings and clips of sources that are no longer listed, or taken down.

    Args:
        row_keys: the sources to keep.
        tracks: folder of all sources' sightings.
        clips: folder of all sources' clips.
    """
    for path in _children(tracks):
        if path.stem not in row_keys:
            path.unlink()
    for path in _children(clips):
        if path.name not in row_keys:
            shutil.rmtree(path)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
