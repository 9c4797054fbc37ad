"""Downloads sources in parallel threads, with retries and back-off, within the rate limits of their hosts."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from preprocessing.download import attempt
from preprocessing.download.attempt import (
    ANSWER,
    AttemptRequest,
    AttemptResult,
    Received,
    verification_limit_s,
)
from preprocessing.download.credentials import mask_credentials
from preprocessing.download.local_limits import LocalLimits
from preprocessing.download.rate_limits import RateLimitedQueue, host_of
from preprocessing.download.raw_folder import (
    add_received,
    compare_recipes,
    find_verified,
    open_receiving_folder,
    read_verified,
    receiving_folder,
    receiving_root,
    upload,
)
from preprocessing.download.recipe import file_recipe
from preprocessing.download.refusals import recall, remember
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.sandbox.child_server import ChildError, ChildMemoryError, ChildServer, ChildTimeoutError
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)


def download_sources(
    sources: Sequence[Source],
    settings: DownloadSettings,
    raw: Path,
    log: Callable[..., None],
    store: Store | None = None,
) -> dict[str, Download]:
    """Return the download of each source by its key.

    Nothing is requested for videos that `raw` or the store holds as the current settings choose them, nor for
    sources that are known to have failed for good (see `refusals`).

    Args:
        sources: one per video.
        settings: limits and retries.
        raw: folder of verified videos.
        log: called with a format and its arguments, once per source and whenever a host is backed off.
        store: receives a copy of every video; None for none.

    Raises:
        StoreError: the store cannot be read or written.
    """
    raw.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    downloads: dict[str, Download] = {}

    def finish(source: Source, download: Download) -> None:
        with lock:
            downloads[source.key] = download
            url, remark = mask_credentials(source.url), f": {download.error}" if download.error else ""
            log("%d/%d %s %s%s", len(downloads), len(sources), download.status.value, url, remark)

    _log_recipes(sources, settings, raw, log)
    missing = []
    for source, known in _find_settled(sources, settings, raw, store):
        if known is None:
            missing.append(source)
        else:
            finish(source, known)
    limits = LocalLimits(receiving_root(raw) / "hosts.json")
    queue = RateLimitedQueue(missing, settings, limits, log)

    def work() -> None:
        while (taken := queue.take()) is not None:
            source, _ = taken
            result = download_source(source, settings, raw)
            if result.download.status != DownloadStatus.STOP_THE_QUEUE:
                queue.done(source)
            elif queue.rate_limited(source, result.retry_after_s):
                continue
            if store is not None and result.download.status == DownloadStatus.VERIFIED:
                upload(raw, source.key, result.download, store)
            finish(source, result.download)

    _run_in_threads(work, settings.num_parallel, queue.stop)
    for source in queue.given_up:
        error = f"not tried: {host_of(source.url, settings.max_per_hour)} limits the rate; rerun later"
        finish(source, Download(status=DownloadStatus.STOP_THE_QUEUE, error=error))
    return {source.key: downloads[source.key] for source in sources}


def _find_settled(
    sources: Sequence[Source], settings: DownloadSettings, raw: Path, store: Store | None
) -> Iterator[tuple[Source, Download | None]]:
    """Yield each source with what is known of it; None if it is to be requested."""

    def find(source: Source) -> Download | None:
        verified = find_verified(raw, source.key, file_recipe(source.url, settings), store)
        return verified or recall(raw, source, settings)

    with ThreadPoolExecutor(settings.num_parallel) as pool:
        yield from zip(sources, pool.map(find, sources), strict=True)


def _log_recipes(
    sources: Sequence[Source], settings: DownloadSettings, raw: Path, log: Callable[..., None]
) -> None:
    counts = compare_recipes(raw, {source.key: file_recipe(source.url, settings) for source in sources})
    if counts.num_adopted:
        log(
            "%d files have no record of the settings they were downloaded with; these are taken to be the "
            "current ones",
            counts.num_adopted,
        )
    if counts.num_other:
        log(
            "%d files were downloaded with another download.format or download.format_sort; they are "
            "downloaded again",
            counts.num_other,
        )


def download_source(source: Source, settings: DownloadSettings, raw: Path) -> AttemptResult:
    """Download a source into `raw`, unless it is there, and retry failures that may pass.

    The pause between attempts doubles each time and is at least the host's Retry-After. Partly received files
    are kept between attempts and between runs. A bad source is a result, not an exception.
    """
    existing = read_verified(raw, source.key, file_recipe(source.url, settings))
    if existing is not None:
        return AttemptResult(download=existing)
    delay_s = settings.retry_delay_s
    result = _attempt(source, settings, raw)
    for _ in range(settings.num_retries):
        if result.download.status != DownloadStatus.RETRYABLE:
            break
        wait_s = max(delay_s, min(result.retry_after_s or 0.0, settings.timeout_s))
        logger.info("%s: %s; retrying in %g s", mask_credentials(source.url), result.download.error, wait_s)
        time.sleep(wait_s)
        delay_s *= 2
        result = _attempt(source, settings, raw)
    if result.download.status not in (DownloadStatus.RETRYABLE, DownloadStatus.STOP_THE_QUEUE):
        shutil.rmtree(receiving_folder(raw, source.key), ignore_errors=True)
    return remember(raw, source, settings, result)


def _attempt(source: Source, settings: DownloadSettings, raw: Path) -> AttemptResult:
    """Attempt a download in a child process and move a verified file to `raw`; credentials are masked."""
    result = _attempt_in_child(source, settings, raw)
    error = result.download.error
    masked = replace(result.download, error=error and mask_credentials(error))
    return result.model_copy(update={"download": masked})


def _attempt_in_child(source: Source, settings: DownloadSettings, raw: Path) -> AttemptResult:
    recipe = file_recipe(source.url, settings)
    proxy = None if settings.proxy is None else settings.proxy.get_secret_value()
    step, limit = "download", "download.timeout_s"
    try:
        folder = open_receiving_folder(raw, source.key, recipe)
        request = AttemptRequest(url=source.url, folder=folder, settings=settings, proxy=proxy)
        with ChildServer(attempt.__name__) as child:
            answer = _ask(child, request, settings.timeout_s)
            if isinstance(answer, Received):
                step, limit = "verification", "download.timeout_s or lower download.min_decode_fps"
                limit_s = verification_limit_s(answer.num_frames, settings)
                answer = _ask(child, request.model_copy(update={"received": answer}), limit_s)
        assert isinstance(answer, AttemptResult)
        if answer.download.status == DownloadStatus.VERIFIED:
            answer = AttemptResult(download=add_received(raw, source.key, answer.download, recipe))
        return answer
    except ChildMemoryError as error:
        download = Download(status=DownloadStatus.PERMANENT, error=f"{step} {error}")
    except ChildTimeoutError as error:
        download = Download(status=DownloadStatus.RETRYABLE, error=f"{step} {error}; raise {limit}")
    except ChildError as error:
        download = Download(status=DownloadStatus.RETRYABLE, error=f"{step} {error}")
    except OSError as error:
        download = Download(status=DownloadStatus.ENVIRONMENT, error=f"got {error} in {raw.parent}")
    return AttemptResult(download=download)


def _ask(child: ChildServer, request: AttemptRequest, timeout_s: float) -> Received | AttemptResult:
    text = child.ask(request.model_dump_json(), timeout_s, request.settings.max_memory_bytes)
    return ANSWER.validate_json(text)


def _run_in_threads(work: Callable[[], None], num_threads: int, stop: Callable[[], None]) -> None:
    """Run `work` in each thread; an error in one of them, or Ctrl-C, calls `stop` and is raised."""
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for thread in as_completed([pool.submit(work) for _ in range(num_threads)]):
                thread.result()
        except BaseException:
            stop()
            raise
