"""Downloads sources in parallel threads, within the rate limits of their hosts."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from preprocessing.download.attempt import AttemptResult
from preprocessing.download.credentials import mask_credentials
from preprocessing.download.limits.host_limits import Turn
from preprocessing.download.limits.rate_limits import RateLimitedQueue, host_of
from preprocessing.download.place import LocalPlace, Place
from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.raw_folder import compare_recipes
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.object_store import Store


def download_sources(
    sources: Sequence[Source],
    settings: DownloadSettings,
    raw: Path,
    log: Callable[..., None],
    store: Store | None = None,
    place: Place | None = None,
) -> dict[str, Download]:
    """Return the download of each source by its key.

    Nothing is requested for videos that `raw` or the store holds as the current settings choose them, nor for
    sources that are known to have failed for good (see `refusals`).

    Args:
        sources: one per video.
        settings: limits and retries.
        raw: folder of verified videos and of records.
        log: called with a format and its arguments, once per source and whenever a host is backed off.
        store: receives a copy of every video; None for none, or if the place has its own.
        place: where to download; None for this process.

    Raises:
        StoreError: the store cannot be read or written.
    """
    raw.mkdir(parents=True, exist_ok=True)
    where = LocalPlace(settings, raw, store) if place is None else place
    lock = threading.Lock()
    downloads: dict[str, Download] = {}
    unfinished: dict[str, AttemptResult] = {}

    def finish(source: Source, download: Download) -> None:
        with lock:
            downloads[source.key] = download
            url, remark = mask_credentials(source.url), f": {download.error}" if download.error else ""
            log("%d/%d %s %s%s", len(downloads), len(sources), download.status.value, url, remark)

    _log_recipes(sources, settings, raw, log)
    missing = []
    for source, known in _find_settled(sources, settings.num_parallel, where):
        if known is None:
            missing.append(source)
        else:
            finish(source, known)
    queue = RateLimitedQueue(missing, settings, where.limits, log)

    def stop() -> None:
        queue.stop()
        where.stop()

    def download(source: Source, turn: Turn) -> AttemptResult | None:
        before = unfinished.get(source.key)
        num_attempts = settings.num_retries + 1 if before is None else before.num_left
        result = where.download(source, turn, num_attempts)
        if result is None or not result.num_left:
            return result
        unfinished[source.key] = result
        return None

    _run_in_threads(lambda: _work(queue, download, finish), settings.num_parallel, stop)
    for source in queue.given_up:
        error = f"not tried: {host_of(source.url, settings.max_per_hour)} limits the rate; rerun later"
        untried = AttemptResult(download=Download(status=DownloadStatus.STOP_THE_QUEUE, error=error))
        finish(source, unfinished.get(source.key, untried).download)
    return {source.key: downloads[source.key] for source in sources}


def _work(
    queue: RateLimitedQueue,
    download: Callable[[Source, Turn], AttemptResult | None],
    finish: Callable[[Source, Download], None],
) -> None:
    """Download sources of the queue until it has no more."""
    while (taken := queue.take()) is not None:
        source, turn = taken
        result = download(source, turn)
        if result is None:
            queue.put_back(source)
        elif result.download.status != DownloadStatus.STOP_THE_QUEUE:
            queue.done(source)
            finish(source, result.download)
        elif not queue.rate_limited(source, result.retry_after_s):
            finish(source, result.download)


def _find_settled(
    sources: Sequence[Source], num_parallel: int, place: Place
) -> Iterator[tuple[Source, Download | None]]:
    """Yield each source with what is known of it; None if it is to be requested."""
    with ThreadPoolExecutor(num_parallel) as pool:
        yield from zip(sources, pool.map(place.find, sources), strict=True)


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


def _run_in_threads(work: Callable[[], None], num_threads: int, stop: Callable[[], None]) -> None:
    """Run `work` in each thread; an error in one of them, or Ctrl-C, calls `stop` and is raised."""
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for thread in as_completed([pool.submit(work) for _ in range(num_threads)]):
                thread.result()
        except BaseException:
            stop()
            raise
