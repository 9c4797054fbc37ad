"""The folder of verified videos, `<key>.<extension>` each, and how sources get there.

Beside each video lies its record, so that a rerun knows it without asking the network. What is received lies
in a folder beside this one until it is whole and verified, so that nothing here is ever half a file.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from preprocessing.download import attempt as download
from preprocessing.download.attempt import Answer, Request
from preprocessing.download.rate_limits import HostQueue, host_of
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.sandbox import child as isolation
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.files import file_sha256
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)
RECORD = TypeAdapter(Download)


def download_sources(
    sources: Sequence[Source],
    settings: DownloadSettings,
    raw: Path,
    say: Callable[..., None],
    store: Store | None = None,
) -> dict[str, Download]:
    """Return each source's download by its key; hosts are asked as often as they and the settings allow.

    Args:
        sources: one per video.
        settings: how.
        raw: where to.
        say: gets a format and its arguments, once a source and whenever a host must wait.
        store: where videos are kept too; what it has is not asked of a host.

    Raises:
        StoreError: it cannot be read or written.
    """
    raw.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    downloads: dict[str, Download] = {}

    def finish(source: Source, outcome: Download) -> None:
        with lock:
            downloads[source.key] = outcome
            remark = f": {outcome.error}" if outcome.error else ""
            say("%d/%d %s %s%s", len(downloads), len(sources), outcome.status.value, source.url, remark)

    missing = []
    with ThreadPoolExecutor(settings.num_parallel) as pool:
        known = pool.map(lambda source: _find(source.key, raw, store), sources)
        for source, verified in zip(sources, known, strict=True):
            if verified is None:
                missing.append(source)
            else:
                finish(source, verified)
    hosts = HostQueue(missing, settings, receiving_folder(raw) / "hosts.json", say)

    def work() -> None:
        while (turn := hosts.take()) is not None:
            if not turn.may_ask:
                host = host_of(turn.source.url, settings.max_per_hour)
                error = f"not tried: {host} asked for a pause; rerun later"
                finish(turn.source, Download(status=DownloadStatus.STOP_THE_QUEUE, error=error))
                hosts.skipped()
                continue
            answer = download_source(turn.source, settings, raw)
            if answer.download.status != DownloadStatus.STOP_THE_QUEUE:
                hosts.done(turn.source)
            elif hosts.refused(turn.source, answer.retry_after_s):
                continue
            if store is not None and answer.download.status == DownloadStatus.VERIFIED:
                _keep(turn.source.key, raw, answer.download, store)
            finish(turn.source, answer.download)

    _run_in_threads(work, settings.num_parallel, hosts.stop)
    return {source.key: downloads[source.key] for source in sources}


def download_source(source: Source, settings: DownloadSettings, raw: Path) -> Answer:
    """Fetch the source into `raw`, unless a verified file is there already.

    A bad source is an outcome, not an exception. Failures that may pass by themselves are tried again after a
    pause, at least the one that the host asks for; what was received so far is kept between attempts, and
    between runs.
    """
    existing = read_verified(raw, source.key)
    if existing is not None:
        return Answer(download=existing)
    delay_s = settings.retry_delay_s
    answer = _attempt(source, settings, raw)
    for _ in range(settings.num_retries):
        if answer.download.status != DownloadStatus.RETRYABLE:
            break
        wait_s = max(delay_s, min(answer.retry_after_s or 0.0, settings.timeout_s))
        logger.info("%s: %s; again in %g s", source.url, answer.download.error, wait_s)
        time.sleep(wait_s)
        delay_s *= 2
        answer = _attempt(source, settings, raw)
    if answer.download.status not in (DownloadStatus.RETRYABLE, DownloadStatus.STOP_THE_QUEUE):
        shutil.rmtree(receiving_folder(raw) / source.key, ignore_errors=True)
    return answer


def read_verified(raw: Path, key: str) -> Download | None:
    """Return the record of a verified file whose size and sha256 are still the recorded ones, or None."""
    record = raw / f"{key}.json"
    if not record.is_file():
        return None
    known = RECORD.validate_json(record.read_bytes())
    path = raw / str(known.file)
    if not path.is_file() or path.stat().st_size != known.size_bytes or file_sha256(path) != known.sha256:
        return None
    return known


def remove_stale(raw: Path, keys: set[str]) -> list[str]:
    """Remove and name the files of sources that are listed no longer; also what of them was half received."""
    removed = []
    for path in sorted(raw.iterdir()) if raw.is_dir() else ():
        if path.name.split(".")[0] not in keys:
            path.unlink()
            removed.append(path.name)
    receiving = receiving_folder(raw)
    for path in receiving.iterdir() if receiving.is_dir() else ():
        if path.is_dir() and path.name not in keys:
            shutil.rmtree(path)
    return removed


def bundle_of(key: str) -> str:
    """Return the name under which a store keeps a video and its record."""
    return f"raw/{key}"


def _find(key: str, raw: Path, store: Store | None) -> Download | None:
    """Return the record of a video that is here, or that the store has; both have it then."""
    verified = read_verified(raw, key)
    if store is None:
        return verified
    if verified is None:
        store.get(bundle_of(key), lambda name: raw / name)
        return read_verified(raw, key)
    _keep(key, raw, verified, store)
    return verified


def _keep(key: str, raw: Path, verified: Download, store: Store) -> None:
    names = (str(verified.file), f"{key}.json")
    store.put(bundle_of(key), {name: raw / name for name in names})


def receiving_folder(raw: Path) -> Path:
    """Return where videos lie until they are verified: beside `raw`, on its file system."""
    return raw.with_name(f"{raw.name}.receiving")


def _run_in_threads(work: Callable[[], None], num_threads: int, stop: Callable[[], None]) -> None:
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for thread in as_completed([pool.submit(work) for _ in range(num_threads)]):
                thread.result()
        except BaseException:
            # Also on Ctrl-C: no thread begins another source, and none waits for one that will not end.
            stop()
            raise


def _attempt(source: Source, settings: DownloadSettings, raw: Path) -> Answer:
    folder = receiving_folder(raw) / source.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        request = Request(url=source.url, folder=folder, settings=settings)
        text = isolation.run_isolated(
            download.__name__, request.model_dump_json(), settings.timeout_s, settings.max_memory_bytes
        )
        answer = Answer.model_validate_json(text)
        if answer.download.status == DownloadStatus.VERIFIED:
            answer = Answer(download=_put_in_place(source, answer.download, folder, raw))
        return answer
    except isolation.ChildMemoryError as error:
        outcome = Download(status=DownloadStatus.PERMANENT, error=f"download {error}")
    except isolation.ChildError as error:
        outcome = Download(status=DownloadStatus.RETRYABLE, error=f"download {error}")
    except OSError as error:
        outcome = Download(status=DownloadStatus.ENVIRONMENT, error=f"got {error} in {raw.parent}")
    return Answer(download=outcome)


def _put_in_place(source: Source, verified: Download, folder: Path, raw: Path) -> Download:
    fetched = folder / str(verified.file)
    verified = replace(verified, file=f"{source.key}{fetched.suffix}")
    record = folder / "record.json"
    record.write_bytes(RECORD.dump_json(verified, indent=1))
    raw.mkdir(parents=True, exist_ok=True)
    fetched.replace(raw / str(verified.file))
    # The record comes last: a file without one is fetched again.
    record.replace(raw / f"{source.key}.json")
    return verified
