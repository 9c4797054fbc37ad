"""What became of a source or a clip, as values: a bad sample is counted, never raised."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Kept:
    """The clip goes into a shard."""


@dataclass(frozen=True)
class Filtered:
    """The clip is sound and a rule left it out."""

    reason: str
    """One word of those in `REASONS`."""


@dataclass(frozen=True)
class Failed:
    """The clip could not be made."""

    error: str
    """One line for people."""
    retryable: bool
    """Whether a rerun may mend it."""


Outcome = Kept | Filtered | Failed

REASONS = (
    "no_face",
    "too_small",
    "leaves_frame",
    "too_short",
    "low_confidence",
    "dark",
    "blurry",
    "extreme_pose",
    "multiple_faces",
    "static",
    "duplicate",
)


def label(outcome: Outcome) -> str:
    """Return `kept`, `filtered(reason)` or `failed`, the word under which the outcome is counted."""
    match outcome:
        case Kept():
            return "kept"
        case Filtered(reason):
            return f"filtered({reason})"
        case Failed():
            return "failed"


class DownloadStatus(StrEnum):
    """What became of one source's download."""

    VERIFIED = "verified"
    """The file is in place and decodes."""
    PERMANENT = "permanent"
    """Removed, private, refused or not a video: trying again changes nothing."""
    RETRYABLE = "retryable"
    """Time-out, unreachable host, server error or partial file: a rerun may succeed."""
    ENVIRONMENT = "environment"
    """This machine lacks something, such as disk space or ffmpeg."""
    STOP_THE_QUEUE = "stop_the_queue"
    """The host asks for a pause; nothing more is asked of it in this run."""
    INVALID = "invalid"
    """The row of the list cannot be used; the setting download.bad_rows lets the others pass."""
    FORGOTTEN = "forgotten"
    """Taken down: `data/tombstones.csv` names it, so it is never fetched again."""


TEMPORARY_STATUSES = (DownloadStatus.RETRYABLE, DownloadStatus.ENVIRONMENT, DownloadStatus.STOP_THE_QUEUE)
