"""Classifies download errors: gone for good, worth a retry, rate limited, or a problem of this machine."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadCancelled,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    YoutubeDLError,
)

from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.outcome import Absence, DownloadStatus
from preprocessing.storage.files import is_disk_error

RATE_LIMIT_MESSAGES = ("not a bot", "captcha", "rate-limited", "anti-bot")
"""Parts of the rate-limit messages of YouTube and Cloudflare. yt-dlp 2026.08.19 has no exception type for
them, so they are classified by text: mistaken for removed videos, rate limits would mark whole lists as
permanently failed."""
HTTP_STATUSES = {
    429: DownloadStatus.STOP_THE_QUEUE,
    408: DownloadStatus.RETRYABLE,
    425: DownloadStatus.RETRYABLE,
    403: DownloadStatus.RETRYABLE,
    # Of a proxy: it says nothing about the video.
    407: DownloadStatus.ENVIRONMENT,
}
"""HTTP codes that are not classified by their hundreds; for 403 see `refusals`."""


ABSENCE_MESSAGES = (
    (Absence.AGE_RESTRICTED, ("your age", "age-restricted", "age restricted", "inappropriate for some")),
    (Absence.PRIVATE, ("private", "members-only", "members only", "join this channel")),
    (Absence.BLOCKED, ("your country", "your location", "geo-restrict", "geo restrict", "blocked")),
    (
        Absence.REMOVED,
        ("removed", "unavailable", "not available", "no longer", "terminated", "deleted", "not exist"),
    ),
)
"""Parts of the sites' messages, in lower case; the first that is found counts. yt-dlp 2026.08.19 has an
exception type for blocked countries alone. They decide what `lia sources report` counts and nothing else."""
ABSENT_CODES = {404: Absence.REMOVED, 410: Absence.REMOVED, 451: Absence.BLOCKED}
"""By HTTP code."""


class FormatMissingError(YoutubeDLError):
    """The host has none of the formats that `download.format` allows."""


class TooLargeError(DownloadCancelled):
    """The file is, or is announced to be, larger than `download.max_bytes`."""


def classify(error: BaseException) -> DownloadStatus:
    """Return the status for an error by the types and codes in its chain of causes."""
    site = _site_message(error)
    for cause in _causes(error):
        if isinstance(cause, HTTPError) and cause.status == 403 and site is not None:
            return _classify_message(site)
        if isinstance(cause, HTTPError):
            by_hundreds = DownloadStatus.RETRYABLE if cause.status >= 500 else DownloadStatus.PERMANENT
            return HTTP_STATUSES.get(cause.status, by_hundreds)
        if is_disk_error(cause) or isinstance(cause, PostProcessingError | FormatMissingError):
            return DownloadStatus.ENVIRONMENT
        if isinstance(cause, RequestError | ContentTooShortError):
            return DownloadStatus.RETRYABLE
    for cause in _causes(error):
        if isinstance(cause, TooLargeError | UnreadableVideoError | LookupError):
            return DownloadStatus.PERMANENT
        if isinstance(cause, ExtractorError) and cause.expected:
            return _classify_message(cause)
    return DownloadStatus.RETRYABLE


def absence_of(error: BaseException) -> Absence | None:
    """Return why a host does not give a video out; None if the error says nothing about that."""
    for cause in _causes(error):
        if isinstance(cause, GeoRestrictedError):
            return Absence.BLOCKED
        if isinstance(cause, HTTPError) and cause.status in ABSENT_CODES:
            return ABSENT_CODES[cause.status]
    site = _site_message(error)
    text = "" if site is None else str(site).lower()
    if any(words in text for words in RATE_LIMIT_MESSAGES):
        return None
    found = (kind for kind, messages in ABSENCE_MESSAGES if any(words in text for words in messages))
    return next(found, None)


def is_forbidden(error: BaseException) -> bool:
    """Return whether the host answered 403."""
    return any(isinstance(cause, HTTPError) and cause.status == 403 for cause in _causes(error))


def is_refused_by_proxy(error: BaseException) -> bool:
    """Return whether a proxy answered 407: it does not accept the user or the password."""
    return any(isinstance(cause, HTTPError) and cause.status == 407 for cause in _causes(error))


def retry_after_s(error: BaseException) -> float | None:
    """Return the seconds of the response's Retry-After header, which may hold a date; None without one."""
    for cause in _causes(error):
        if isinstance(cause, HTTPError) and (text := cause.response.headers.get("Retry-After")):
            if text.strip().isdecimal():
                return float(text)
            try:
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
            except ValueError:
                return None
    return None


def one_line(error: BaseException) -> str:
    """Return the error's message without line breaks and yt-dlp's prefix."""
    return " ".join(str(error).split()).removeprefix("ERROR: ") or type(error).__name__


def _site_message(error: BaseException) -> ExtractorError | None:
    """Return the error that holds what the site says, such as that the video is private; None without one."""
    for cause in _causes(error):
        # One that was raised for a response says only which response it was.
        if isinstance(cause, ExtractorError) and cause.expected and not isinstance(cause.cause, HTTPError):
            return cause
    return None


def _classify_message(error: ExtractorError) -> DownloadStatus:
    is_rate_limit = any(words in str(error) for words in RATE_LIMIT_MESSAGES)
    return DownloadStatus.STOP_THE_QUEUE if is_rate_limit else DownloadStatus.PERMANENT


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all its causes, some of which yt-dlp keeps in attributes of its own."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [getattr(cause, "cause", None), *(getattr(cause, "exc_info", None) or ())[1:2]]
        inner += [cause.__cause__, cause.__context__]
        waiting += [one for one in inner if isinstance(one, BaseException)]
