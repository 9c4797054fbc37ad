"""Outcomes of sources and clips as values: a bad sample is counted and raises no exception."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Kept:
    """The clip goes into a shard."""


@dataclass(frozen=True)
class Filtered:
    """The clip is intact and a rule rejects it."""

    reason: str
    """One word that names the rule, such as `too_short`."""


@dataclass(frozen=True)
class Failed:
    """The clip could not be made."""

    error: str
    """One line for people."""
    retryable: bool
    """Whether a rerun may succeed."""


Outcome = Kept | Filtered | Failed


class DownloadStatus(StrEnum):
    """Outcome of one source's download."""

    VERIFIED = "verified"
    """The file is in place and decodes."""
    PERMANENT = "permanent"
    """Removed, private, refused or not a video: a retry changes nothing."""
    RETRYABLE = "retryable"
    """Time-out, unreachable host, server error or partial file: a rerun may succeed."""
    ENVIRONMENT = "environment"
    """This machine lacks something, such as disk space or ffmpeg."""
    STOP_THE_QUEUE = "stop_the_queue"
    """The host limits the rate; this run sends it no further requests."""
    INVALID = "invalid"
    """The row of the list is bad and `download.bad_rows` is `skip`."""
    FORGOTTEN = "forgotten"
    """Taken down: listed in `data/tombstones.csv` and never downloaded again."""


class Absence(StrEnum):
    """Why a host does not give a video out."""

    REMOVED = "removed"
    """By its owner or the host, with its account, or never there."""
    PRIVATE = "private"
    """For some people alone, such as members of a channel."""
    AGE_RESTRICTED = "age_restricted"
    """For adults who are logged in."""
    BLOCKED = "blocked"
    """In this country, or by law."""


TEMPORARY_STATUSES = (DownloadStatus.RETRYABLE, DownloadStatus.ENVIRONMENT, DownloadStatus.STOP_THE_QUEUE)
"""Statuses for which a rerun tries the download again and may succeed."""
