"""Stage download: every source of the list to a verified file in data/raw and a row in the ledger."""

import json
from pathlib import Path

from prefect import flow, get_run_logger, task

from pipelines.environment import Environment
from pipelines.params import Params
from preprocessing.download import download_sources, remove_stale
from preprocessing.ledger import Download, SourceRow, count_sources, write_sources
from preprocessing.outcome import TEMPORARY_STATUSES
from preprocessing.settings import DownloadSettings
from preprocessing.sources import Source, read_sources


def run_download(params: Params, environment: Environment) -> int:
    """Download what is missing; return 0, or 1 while a rerun may bring more and that is not accepted.

    Raises:
        ValueError: the list of sources is missing or has bad rows.
    """
    sources = read_sources(environment.root / params.download.sources)
    local = params.download.local_root
    settings = params.download.model_copy(
        update={"local_root": None if local is None else environment.root / local}
    )
    rows = download_flow(sources, settings, environment.raw)
    write_sources(environment.ledger / "sources.parquet", rows)
    counts = count_sources(rows)
    environment.metrics.mkdir(parents=True, exist_ok=True)
    (environment.metrics / "download.json").write_text(json.dumps(counts, indent=1) + "\n")
    num_temporary = sum(counts[status] for status in TEMPORARY_STATUSES)
    return 1 if num_temporary and not params.download.accept_incomplete else 0


@flow(
    name="download",
    flow_run_name="download-{raw.parent.parent.name}",
    persist_result=False,
    validate_parameters=False,
)
def download_flow(sources: list[Source], settings: DownloadSettings, raw: Path) -> list[SourceRow]:
    """Remove what is listed no longer, then download all sources, and account for each of them."""
    logger = get_run_logger()
    keys = {source.key for source in sources}
    for name in remove_stale(raw, keys):
        logger.info("removed %s: its source is listed no longer", name)
    by_key = {source.key: source for source in sources}
    downloads = download_all(list(by_key.values()), settings, raw)
    rows = [SourceRow(source=source, download=downloads[source.key]) for source in sources]
    logger.info(
        "sources: %s", ", ".join(f"{count} {word}" for word, count in count_sources(rows).items() if count)
    )
    return rows


@task(name="download sources", persist_result=False, retries=1, retry_delay_seconds=5)
def download_all(sources: list[Source], settings: DownloadSettings, raw: Path) -> dict[str, Download]:
    """Download sources side by side; what a first attempt of this task has verified is not fetched again."""
    return download_sources(sources, settings, raw, get_run_logger().info)
