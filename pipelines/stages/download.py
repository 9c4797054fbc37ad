"""Stage download: every source of the list to a verified file in data/raw and a row in the ledger."""

import json

from prefect import flow, get_run_logger, task

from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.download.changes import difference, invalid_row
from preprocessing.download.raw_folder import remove_stale
from preprocessing.download.retries import download_sources
from preprocessing.ledger import Download, SourceRow, count_sources, iterate_sources, write_sources
from preprocessing.outcome import TEMPORARY_STATUSES, DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.sources.source_list import SourceList, read_sources, read_valid_sources
from preprocessing.sources.tombstones import read_tombstones

FORGOTTEN = Download(status=DownloadStatus.FORGOTTEN, error="taken down; see data/tombstones.csv")


def run_download(params: Params, environment: Environment) -> int:
    """Download what is missing; return 0, or 1 while a rerun may bring more and that is not accepted.

    Raises:
        ValueError: the list of sources or that of tombstones is missing or has bad rows.
        StoreError: there is a store, and it cannot be read or written.
    """
    path = environment.root / params.download.sources
    skips = params.download.bad_rows == "skip"
    listed = read_valid_sources(path) if skips else SourceList(read_sources(path), [])
    local, cookies = params.download.local_root, params.download.cookies
    in_project = {
        "local_root": local and environment.root / local,
        "cookies": cookies and environment.root / cookies,
    }
    settings = params.download.model_copy(update=in_project)
    environment.check_store()
    rows = download_flow(listed, settings, environment)
    write_sources(environment.source_ledger, rows)
    counts = count_sources(rows)
    environment.metrics.mkdir(parents=True, exist_ok=True)
    (environment.metrics / "download.json").write_text(json.dumps(counts, indent=1) + "\n")
    num_temporary = sum(counts[status] for status in TEMPORARY_STATUSES)
    return 1 if num_temporary and not params.download.accept_incomplete else 0


@flow(
    name="download",
    flow_run_name="download-{environment.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def download_flow(
    listed: SourceList, settings: DownloadSettings, environment: Environment
) -> list[SourceRow]:
    """Remove what is listed no longer or taken down, then download all sources, and account for each row."""
    logger = get_run_logger()
    before = environment.source_ledger
    known = iterate_sources(before) if before.is_file() else ()
    logger.info("since the last run: %s", difference(listed.sources, known))
    for bad in listed.bad_rows:
        logger.warning("left out: %s", bad)
    forgotten = read_tombstones(environment.tombstones)
    by_key = {source.key: source for source in listed.sources if source.key not in forgotten}
    for name in remove_stale(environment.raw, set(by_key)):
        logger.info("removed %s: its source is listed no longer, or taken down", name)
    downloads = download_all(list(by_key.values()), settings, environment)
    rows = [
        SourceRow(source=source, download=downloads.get(source.key, FORGOTTEN)) for source in listed.sources
    ]
    rows += map(invalid_row, listed.bad_rows)
    logger.info(
        "sources: %s", ", ".join(f"{count} {word}" for word, count in count_sources(rows).items() if count)
    )
    return rows


@task(name="download sources", persist_result=False, retries=1, retry_delay_seconds=5)
def download_all(
    sources: list[Source], settings: DownloadSettings, environment: Environment
) -> dict[str, Download]:
    """Download sources side by side; what a first attempt of this task has verified is not fetched again."""
    return download_sources(sources, settings, environment.raw, get_run_logger().info, environment.store())
