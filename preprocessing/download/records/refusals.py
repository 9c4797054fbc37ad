"""Remembers which sources failed for good, so that later runs do not ask for them again too soon.

The rule: a permanent failure is settled for `download.retry_permanent_days` days, unless a setting changes
that may let it succeed (`recipe.ACCESS_SETTINGS`). A 403 without a message of the site is often a passing
block of this machine, so it is retryable, and becomes permanent when `NUM_FORBIDDEN_RUNS` runs in a row end
with it.
Local files are not remembered, since looking at them costs no request.

The record, `<key>.refused.json`, lies in the folder of raw videos. Removing it asks again at once.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from preprocessing.download.attempt import AttemptResult
from preprocessing.download.recipe import access_recipe
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.files import write_atomically

NUM_FORBIDDEN_RUNS = 3
"""Runs in a row that end with 403 before the source counts as failed for good."""


class Refusal(BaseModel):
    """The record of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    download: Download
    """How the last request ended."""
    asked_on: date
    """Day of the last request, in UTC."""
    recipe: str
    """Of the settings at that time, see `access_recipe`."""
    num_forbidden: int
    """Runs in a row that ended with 403."""


def recall(raw: Path, source: Source, settings: DownloadSettings) -> Download | None:
    """Return the permanent failure that is remembered of a source; None if it is to be requested."""
    known = _read(raw, source, settings)
    if known is None or known.download.status != DownloadStatus.PERMANENT:
        return None
    age_days = (_today() - known.asked_on).days
    return known.download if age_days < settings.retry_permanent_days else None


def remember(raw: Path, source: Source, settings: DownloadSettings, result: AttemptResult) -> AttemptResult:
    """Record how a run ended for a source, and return that: the last of several 403 becomes permanent."""
    status = result.download.status
    if source.url.startswith("file://") or status in (
        DownloadStatus.ENVIRONMENT,
        DownloadStatus.STOP_THE_QUEUE,
    ):
        return result
    known = _read(raw, source, settings)
    num_forbidden = 0
    if result.is_forbidden:
        num_forbidden = 1 + (known.num_forbidden if known is not None else 0)
    if status == DownloadStatus.RETRYABLE and num_forbidden >= NUM_FORBIDDEN_RUNS:
        error = f"{result.download.error}; {num_forbidden} runs in a row"
        download = replace(result.download, status=DownloadStatus.PERMANENT, error=error)
        result = result.model_copy(update={"download": download})
    if num_forbidden or result.download.status == DownloadStatus.PERMANENT:
        raw.mkdir(parents=True, exist_ok=True)
        refusal = Refusal(
            download=result.download,
            asked_on=_today(),
            recipe=access_recipe(settings),
            num_forbidden=num_forbidden,
        )
        with write_atomically(_path(raw, source)) as partial:
            partial.write_text(refusal.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    else:
        _path(raw, source).unlink(missing_ok=True)
    return result


def _read(raw: Path, source: Source, settings: DownloadSettings) -> Refusal | None:
    """Return the record; None without one, or if it was made with other settings."""
    path = _path(raw, source)
    if not path.is_file():
        return None
    known = Refusal.model_validate_json(path.read_bytes())
    return known if known.recipe == access_recipe(settings) else None


def _path(raw: Path, source: Source) -> Path:
    return raw / f"{source.key}.refused.json"


def _today() -> date:
    return datetime.now(UTC).date()
