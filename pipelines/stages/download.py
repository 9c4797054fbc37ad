"""Stage download: from the list of sources to verified videos and rows of the ledger.

Videos are kept in data/raw. With a Ray cluster and a store, machines of the cluster download them into the
store, and data/raw has their records alone.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prefect import flow, get_run_logger, task
from pydantic import SecretStr

from pipelines.environment import Environment
from pipelines.params import Params
from pipelines.project_paths import ProjectPaths
from preprocessing.download.changes import difference, invalid_row
from preprocessing.download.credentials import mask_credentials, mask_source
from preprocessing.download.records.raw_folder import adopt_former, remove_stale
from preprocessing.download.records.stored_videos import adopt_stored
from preprocessing.download.run import download_sources
from preprocessing.ledger import Download, SourceRow, count_sources, iterate_sources, write_sources
from preprocessing.outcome import TEMPORARY_STATUSES, DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.former_keys import match_former_keys, replace_former, stored_keys
from preprocessing.sources.source import Source
from preprocessing.sources.source_list import SourceList, read_sources, read_valid_sources
from preprocessing.sources.tombstones import read_tombstones
from preprocessing.storage.files import write_atomically
from preprocessing.storage.object_store import Store

FORGOTTEN = Download(status=DownloadStatus.FORGOTTEN, error="taken down; see data/tombstones.csv")


class Workers(NamedTuple):
    """The Ray cluster whose machines download."""

    address: str
    correlation_id: str


def run_download(params: Params, environment: Environment) -> int:
    """Download what is missing and write the ledger; return the exit code.

    It is 1 if a rerun may succeed for some source and `download.accept_incomplete` is off, else 0.

    Raises:
        ValueError: the list of sources or of tombstones is missing or has bad rows.
        StoreError: the store cannot be read or written.
        ClusterError: the Ray cluster of LIA_RAY_ADDRESS does not answer, or refuses this process.
    """
    paths = environment.paths
    root = paths.root
    listed = _read_list(root / params.download.sources, params.download.bad_rows == "skip")
    settings = _complete_settings(params.download, environment)
    environment.check_store()
    workers = None
    if environment.ray_address is not None and environment.shared_store_url is not None:
        environment.check_cluster()
        workers = Workers(environment.ray_address, environment.correlation_id)
    rows = download_flow(lambda: listed, settings, paths, environment.store_url, workers)
    write_sources(paths.source_ledger, rows)
    counts = count_sources(rows)
    with write_atomically(paths.metrics / "download.json") as partial:
        partial.write_text(json.dumps(counts, indent=1) + "\n")
    num_temporary = sum(counts[status] for status in TEMPORARY_STATUSES)
    return 1 if num_temporary and not params.download.accept_incomplete else 0


def _read_list(path: Path, skips_bad_rows: bool) -> SourceList:
    try:
        return read_valid_sources(path) if skips_bad_rows else SourceList(read_sources(path), [])
    except ValueError as error:
        raise ValueError(mask_credentials(str(error))) from None


def _complete_settings(settings: DownloadSettings, environment: Environment) -> DownloadSettings:
    """Return the settings with absolute paths and the environment's proxy.

    Raises:
        ValueError: the proxy of params.yaml holds a password.
    """
    root, local, cookies, proxy = (
        environment.paths.root,
        settings.local_root,
        settings.cookies,
        settings.proxy,
    )
    if proxy is not None and "@" in proxy.get_secret_value():
        raise ValueError(
            f"got download.proxy {mask_credentials(proxy.get_secret_value())}; params.yaml and dvc.lock are "
            "shared, so only a proxy without user and password is allowed; set LIA_DOWNLOAD_PROXY instead"
        )
    if environment.download_proxy is not None:
        proxy = SecretStr(environment.download_proxy)
    changes = {"local_root": local and root / local, "cookies": cookies and root / cookies, "proxy": proxy}
    return settings.model_copy(update=changes)


@flow(
    name="download",
    flow_run_name="download-{paths.root.name}",
    persist_result=False,
    validate_parameters=False,
)
def download_flow(
    read_list: Callable[[], SourceList],
    settings: DownloadSettings,
    paths: ProjectPaths,
    store_url: str | None,
    workers: Workers | None,
) -> list[SourceRow]:
    """Remove videos that are not listed or were taken down, download the others; return the ledger's rows.

    Args:
        read_list: returns the list of sources; a function, since Prefect keeps the values of parameters, and
            URLs may hold tokens.
        settings: with absolute paths.
        paths: of the project. The ledger of the previous run, from which changes are told, may be missing.
        store_url: where videos are kept too; None for nowhere.
        workers: which download into the store; None downloads here.
    """
    raw, ledger, store = paths.raw, paths.source_ledger, None if store_url is None else Store(store_url)
    logger = get_run_logger()
    listed = read_list()
    known = iterate_sources(ledger) if ledger.is_file() else ()
    logger.info("since the last run: %s", difference([*map(mask_source, listed.sources)], known))
    for bad in listed.bad_rows:
        logger.warning("skipped: %s", mask_credentials(str(bad)))
    tombstoned = read_tombstones(paths.tombstones)
    listed_keys = {source.key for source in listed.sources}
    known = iterate_sources(ledger) if ledger.is_file() else ()
    current = match_former_keys(
        (stored_keys(raw) | tombstoned) - listed_keys, itertools.chain(listed.sources, known)
    )
    forgotten = replace_former(tombstoned, current)
    by_key = {source.key: source for source in listed.sources if source.key not in forgotten}
    kept = {old: new for old, new in current.items() if new in by_key}
    adopted = adopt_former(raw, kept)
    if store is not None:
        adopted += adopt_stored(raw, kept, store)
    for name in adopted:
        logger.info("kept as %s: it was stored under another spelling of its URL", name)
    for name in remove_stale(raw, by_key.keys()):
        logger.info("removed %s: its source is no longer listed, or was taken down", name)
    downloads = download_all(list(by_key.values()), settings, raw, store_url, workers)
    rows = [SourceRow(mask_source(source), downloads.get(source.key, FORGOTTEN)) for source in listed.sources]
    rows += map(invalid_row, listed.bad_rows)
    logger.info(
        "sources: %s", ", ".join(f"{count} {word}" for word, count in count_sources(rows).items() if count)
    )
    return rows


@task(name="download sources", persist_result=False, retries=1, retry_delay_seconds=5)
def download_all(
    sources: list[Source],
    settings: DownloadSettings,
    raw: Path,
    store_url: str | None,
    workers: Workers | None,
) -> dict[str, Download]:
    """Download sources in parallel; a retry of the task does not repeat verified downloads."""
    log = get_run_logger().info
    if workers is None or store_url is None:
        return download_sources(sources, settings, raw, log, None if store_url is None else Store(store_url))
    from pipelines.local.cluster import joined
    from pipelines.local.download_workers import ClusterPlace

    log("videos are downloaded by the Ray cluster into %s; %s keeps their records", store_url, raw)
    if num_local := sum(source.url.startswith("file://") for source in sources):
        log(
            "%d local files (file://) are copied by this machine, since others may not see its disk",
            num_local,
        )
    with joined(workers.address, workers.correlation_id):
        return download_sources(sources, settings, raw, log, place=ClusterPlace(settings, raw, store_url))
