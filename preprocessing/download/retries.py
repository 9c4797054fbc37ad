"""Downloads one source: attempts in a child process each, retries of failures that may pass."""

import logging
import shutil
import time
from collections.abc import Callable
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
from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.raw_folder import (
    add_received,
    open_receiving_folder,
    read_verified,
    receiving_folder,
)
from preprocessing.download.records.refusals import remember
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.sandbox.child_server import ChildError, ChildMemoryError, ChildServer, ChildTimeoutError
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source

logger = logging.getLogger(__name__)


def download_source(
    source: Source,
    settings: DownloadSettings,
    raw: Path,
    may_retry: Callable[[], bool],
    num_attempts: int,
) -> AttemptResult:
    """Download a source into `raw`, unless it is there, and remember a failure for good.

    Partly received files are kept between runs. A bad source is a result, not an exception. See
    `request_source`.
    """
    existing = read_verified(raw, source.key, file_recipe(source.url, settings))
    if existing is not None:
        return AttemptResult(download=existing)
    result = request_source(source, settings, raw, may_retry, num_attempts)
    return result if result.num_left else remember(raw, source, settings, result)


def request_source(
    source: Source,
    settings: DownloadSettings,
    raw: Path,
    may_retry: Callable[[], bool],
    num_attempts: int,
) -> AttemptResult:
    """Request a source, receive it into `raw`, and retry failures that may pass.

    The pause between attempts doubles each time and is at least the host's Retry-After. Partly received files
    are kept between attempts. A bad source is a result, not an exception.

    Args:
        source: to request.
        settings: with the delay of the first retry and the limits of an attempt.
        raw: folder of verified videos.
        may_retry: asked after the pause: a retry counts for the host as any request does. It may wait for the
            host; if it says no, the result has `num_left` attempts.
        num_attempts: at least 1, at most `num_retries` and one more.
    """
    delay_s = settings.retry_delay_s * 2.0 ** (settings.num_retries + 1 - num_attempts)
    result = _attempt(source, settings, raw)
    for num_left in range(num_attempts - 1, 0, -1):
        if result.download.status != DownloadStatus.RETRYABLE:
            break
        wait_s = max(delay_s, min(result.retry_after_s or 0.0, settings.timeout_s))
        logger.info("%s: %s; retrying in %g s", mask_credentials(source.url), result.download.error, wait_s)
        time.sleep(wait_s)
        if not may_retry():
            return result.model_copy(update={"num_left": num_left})
        delay_s *= 2
        result = _attempt(source, settings, raw)
    if result.download.status not in (DownloadStatus.RETRYABLE, DownloadStatus.STOP_THE_QUEUE):
        shutil.rmtree(receiving_folder(raw, source.key), ignore_errors=True)
    return result


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
