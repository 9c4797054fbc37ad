"""Stage shards: every verified video to face-cropped clips in data/shards and rows in the ledger."""

import csv
import json
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from prefect import State, flow, get_run_logger, task
from prefect.states import Completed, Failed

from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.clips.assignment import Assigned, assign
from preprocessing.clips.exchange import bring_clips
from preprocessing.clips.sample import PreparedClip
from preprocessing.clips.source_run import Result, SourceTask, max_distance, pictures_of, require_eyes
from preprocessing.clips.units import DiskError, group_into_units, process_here
from preprocessing.faces.detector import LICENCE_NOTE
from preprocessing.ledger import ClipRow, SourceRow, count_clips, read_source_rows, write_clips
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import ShardsSettings
from preprocessing.shards.contact_sheet import examples, write_contact_sheet
from preprocessing.shards.manifest import BUNDLE
from preprocessing.shards.writer import NothingKeptError, require_training_clips, write_shards
from preprocessing.storage.object_store import StoreError

FOR_THE_OPERATOR = (NothingKeptError, DiskError, StoreError, ValueError)
"""What is told in one line; anything else is a bug."""
UNITS_PER_WORKER = 8
"""Few enough to cost nothing, many enough that workers end at about the same time."""


def run_shards(params: Params, environment: Environment) -> int:
    """Make the shards from what is downloaded; what is done already is not done again.

    Raises:
        ValueError: there is no ledger, no face detector, or one person in two splits.
        NothingKeptError: no clip is left for training; the ledger says why.
        DiskError: nothing can be written any more.
        StoreError: there is a store, and it cannot be read or written.
    """
    require_eyes(params.shards, environment.root)
    environment.check_store()
    sources = read_source_rows(environment.source_ledger)
    state = shards_flow(sources, params.shards, environment, return_state=True)
    if state.is_failed() and isinstance(state.data, FOR_THE_OPERATOR):
        raise state.data
    state.result()
    return 0


@flow(
    name="shards",
    flow_run_name="shards-{environment.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def shards_flow(sources: list[SourceRow], settings: ShardsSettings, environment: Environment) -> State:
    """Process every source, write the ledger, then the shards and their contact sheet."""
    logger = get_run_logger()
    logger.info("detector %s: %s", settings.detect.models, LICENCE_NOTE)
    verified = [row for row in sources if row.download.status == DownloadStatus.VERIFIED]
    try:
        work = jobs(verified, settings, environment)
        results = process_all(work, settings.num_parallel, environment)
        distance = max_distance(settings, environment.root)
        assigned = assign([row.source for row in verified], results, settings, distance)
        rows, prepared = assigned.rows, assigned.prepared
        write_clips(environment.ledger / "clips.parquet", rows)
        _write_counts(rows, prepared, environment)
        logger.info("clips: %s", ", ".join(f"{count} {word}" for word, count in count_clips(rows).items()))
        require_training_clips(rows, sources)
    except FOR_THE_OPERATOR as error:
        # Returned rather than raised: Prefect would print its traceback above our one line.
        return Failed(message=str(error), data=error)
    _warn(assigned)
    try:
        write_all(prepared, rows, sources, settings, environment)
    except StoreError as error:
        return Failed(message=str(error), data=error)
    wanted = (row for row in sources if row.download.status != DownloadStatus.FORGOTTEN)
    _remove_delisted({row.source.row_key for row in wanted}, environment)
    return Completed(message=f"{len(prepared)} clips")


def jobs(
    verified: Sequence[SourceRow], settings: ShardsSettings, environment: Environment
) -> list[SourceTask]:
    """Return the work: one job for each part of each verified video."""
    return [
        SourceTask(
            source=row.source,
            video=environment.raw / str(row.download.file),
            video_sha256=str(row.download.sha256),
            root=environment.root,
            settings=settings,
            tracks=environment.tracks,
            clips=environment.clips,
            store_url=environment.store_url,
        )
        for row in verified
    ]


@task(name="process sources", persist_result=False, retries=1, retry_delay_seconds=5)
def process_all(work: list[SourceTask], num_parallel: int, environment: Environment) -> list[Result]:
    """Process the sources in units, side by side, on the Ray cluster where there is one, else in processes.

    Results come in the order of `work`.
    """
    units = group_into_units(work, UNITS_PER_WORKER * num_parallel, lambda job: job.source)
    tell = _teller(len(work))
    if environment.ray_address is None:
        results = process_here(units, num_parallel, tell)
    else:
        from pipelines.local.cluster import connected, process_on_cluster

        with connected(environment):
            results = process_on_cluster(units, num_parallel, tell)
        store = environment.store()
        if store is not None:
            for job in work:
                bring_clips(job, store)
    found = {result.row_key: result for result in results}
    return [found[job.source.row_key] for job in work]


def _teller(total: int) -> Callable[[Result], None]:
    """Return a function that logs each source as it is done, with the rate and the time left."""
    log, started, done = get_run_logger().info, time.monotonic(), 0

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        rate = done / max(time.monotonic() - started, 1e-3)
        left = timedelta(seconds=round((total - done) / rate))
        outcomes = ", ".join(f"{count} {word}" for word, count in count_clips(result.rows).items())
        log("%d/%d %s: %s (%.2f sources/s, %s left)", done, total, result.rows[0].url, outcomes, rate, left)

    return tell


@task(name="write shards", persist_result=False)
def write_all(
    prepared: list[PreparedClip],
    rows: list[ClipRow],
    sources: list[SourceRow],
    settings: ShardsSettings,
    environment: Environment,
) -> None:
    """Write data/shards: tars, index, manifest and contact sheet."""
    models = environment.root / settings.detect.models
    write_shards(prepared, rows, sources, settings, models, environment.shards)
    shown = (row for chosen in examples(rows).values() for row in chosen)
    pictures = {row.key: pictures_of(row, environment.clips) for row in shown}
    write_contact_sheet(environment.shards / "report.html", sources, rows, pictures)
    store = environment.store()
    if store is not None:
        files = (path for path in environment.shards.rglob("*") if path.is_file())
        store.put(BUNDLE, {str(path.relative_to(environment.shards)): path for path in files})


def _write_counts(rows: list[ClipRow], prepared: list[PreparedClip], environment: Environment) -> None:
    frames = {
        split: sum(c.clip.num_frames for c in prepared if c.clip.split == split)
        for split in ("train", "test")
    }
    counts = {"clips": count_clips(rows), "frames": frames}
    environment.metrics.mkdir(parents=True, exist_ok=True)
    (environment.metrics / "shards.json").write_text(json.dumps(counts, indent=1) + "\n")
    with (environment.metrics / "outcomes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("outcome", "num_clips"))
        writer.writerows(counts["clips"].items())


def _warn(assigned: Assigned) -> None:
    logger = get_run_logger()
    if any(clip.clip.by_time for clip in assigned.prepared):
        logger.warning("train and test are not identity-disjoint: a source has split by_time")
    for one, other in assigned.lookalikes:
        logger.warning("identities %s and %s in data/sources.csv seem to be one person", one, other)


def _remove_delisted(row_keys: set[str], environment: Environment) -> None:
    """Remove what is stored of sources that are not in the ledger any more, or taken down."""
    for path in _children(environment.tracks):
        if path.stem not in row_keys:
            path.unlink()
    for path in _children(environment.clips):
        if path.name not in row_keys:
            shutil.rmtree(path)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
