"""Stage shards: every verified video to face-cropped clips in data/shards and rows in the ledger."""

import json
import shutil

from prefect import State, flow, get_run_logger, task
from prefect.states import Completed, Failed

from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.clip import Job, Result, process_sources
from preprocessing.detect import LICENCE_NOTE, require_models
from preprocessing.ledger import ClipRow, SourceRow, count_clips, read_source_rows, write_clips
from preprocessing.outcome import DownloadStatus
from preprocessing.report import write_report
from preprocessing.sample import PreparedClip
from preprocessing.settings import ShardsSettings
from preprocessing.shards import NothingKept, read_frames, require_training_clips, write_shards
from preprocessing.sources import assign_splits


def run_shards(params: Params, environment: Environment) -> int:
    """Make the shards from what is downloaded; what a run that broke off has finished is not done again.

    Raises:
        ValueError: there is no ledger or no face detector.
        NothingKept: no clip is left for training; the ledger says why.
    """
    require_models(environment.root / params.shards.detect.models)
    sources = read_source_rows(environment.ledger / "sources.parquet")
    state = shards_flow(sources, params.shards, environment, return_state=True)
    if state.is_failed() and isinstance(state.data, NothingKept):
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
    results = process_all(jobs(sources, settings, environment), settings.num_parallel)
    rows = [row for result in results for row in result.rows]
    prepared = [clip for result in results for clip in result.prepared]
    write_clips(environment.ledger / "clips.parquet", rows)
    _write_counts(rows, prepared, environment)
    logger.info("clips: %s", ", ".join(f"{count} {word}" for word, count in count_clips(rows).items()))
    try:
        require_training_clips(rows, sources)
    except NothingKept as error:
        # Returned rather than raised: Prefect would print its traceback above our one line.
        return Failed(message=str(error), data=error)
    if any(clip.clip.by_time for clip in prepared):
        logger.warning("train and test are not identity-disjoint: a source has split by_time")
    write_all(prepared, rows, sources, settings, environment)
    shutil.rmtree(environment.runs / "shards", ignore_errors=True)
    return Completed(message=f"{len(prepared)} clips")


def jobs(sources: list[SourceRow], settings: ShardsSettings, environment: Environment) -> list[Job]:
    """Return the work: one job for each part of each verified video."""
    splits = assign_splits([row.source for row in sources], settings.test_fraction, settings.seed)
    return [
        Job(
            source=row.source,
            split=splits[row.source.row_key],
            video=environment.raw / str(row.download.file),
            video_sha256=str(row.download.sha256),
            models=environment.root / settings.detect.models,
            settings=settings,
            tracks=environment.tracks,
            work=environment.runs / "shards",
        )
        for row in sources
        if row.download.status == DownloadStatus.VERIFIED
    ]


@task(name="process sources", persist_result=False, retries=1, retry_delay_seconds=5)
def process_all(work: list[Job], num_parallel: int) -> list[Result]:
    """Process the sources side by side, each in a process of its own."""
    return process_sources(work, num_parallel, get_run_logger().info)


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
    frames = {
        key: images for split in ("train", "test") for key, images in read_frames(environment.shards, split)
    }
    write_report(environment.shards / "report.html", sources, rows, frames)


def _write_counts(rows: list[ClipRow], prepared: list[PreparedClip], environment: Environment) -> None:
    frames = {
        split: sum(c.clip.num_frames for c in prepared if c.clip.split == split)
        for split in ("train", "test")
    }
    counts = {"clips": count_clips(rows), "frames": frames}
    environment.metrics.mkdir(parents=True, exist_ok=True)
    (environment.metrics / "shards.json").write_text(json.dumps(counts, indent=1) + "\n")
