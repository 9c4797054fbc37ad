"""`lia sources import` converts a published list to ours, `lia sources report` counts what is left of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.local.reports import Row
from preprocessing.download.limits.rate_limits import host_of
from preprocessing.ledger import iterate_statuses
from preprocessing.outcome import TEMPORARY_STATUSES, DownloadStatus
from preprocessing.sources.cleaning import clean_rows, write_rows
from preprocessing.sources.importers import load_importer
from preprocessing.sources.source_list import read_sources
from preprocessing.storage.files import write_atomically

NUM_SHOWN = 20
"""Rows or files of one kind that the report for a terminal names."""


class SourcesReport(BaseModel):
    """The result of an import, as `--json` prints it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    output: Path
    """The list that was written."""
    num_rows: int
    splits: dict[str, int]
    """Number of rows by split."""
    duplicates: list[int | str]
    """Places of rows that were dropped because an earlier row equals them."""
    clamped: list[int | str]
    """Places of rows whose box was clipped to the frame."""
    fixed_leaks: list[str]
    """Identities and videos that were in both splits and were moved to test."""
    bad_rows: list[str]
    """Rows that were left out, each with its place and the reason."""
    skipped: list[str]
    """Files that are no part of the list, each with the reason."""


class ListCounts(BaseModel):
    """What is left of the rows of one published list on one host."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    list: str
    """Name of the published list; empty for rows of none."""
    host: str
    """Host, bucket, or `this machine`."""
    rows: int
    exist: int
    """Rows whose video was downloaded and decodes."""
    removed: int
    private: int
    age_restricted: int
    blocked: int
    """In this country, or by law."""
    failed: int
    """Rows that failed for good for another reason."""
    unknown: int
    """Rows that a rerun may bring: failures that may pass, and rate limits."""
    left_out: int
    """Bad rows, and videos that were taken down here."""


def count_lists(path: Path, hosts: Mapping[str, object]) -> list[ListCounts]:
    """Return the counts of each list and host, by names; memory does not grow with the rows.

    Args:
        path: the ledger's table of sources.
        hosts: hosts that include their subdomains.

    Raises:
        ValueError: the table does not exist.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for url, name, status, absence in iterate_statuses(path):
        key = (name or "", _host(url, hosts))
        counts.setdefault(key, Counter())[_state(status, absence)] += 1
    states = [state for state in ListCounts.model_fields if state not in ("list", "host", "rows")]
    return [
        ListCounts(
            list=name,
            host=host,
            rows=sum(found.values()),
            **{state: found[state] for state in states},
        )
        for (name, host), found in sorted(counts.items())
    ]


def count_lines(counts: Sequence[ListCounts]) -> list[Row]:
    """Return a row of titles, and one for each list and host."""
    titles = tuple(name.replace("_", " ") for name in ListCounts.model_fields)
    return [titles, *(tuple(str(value) for value in one.model_dump().values()) for one in counts)]


def _host(url: str, hosts: Mapping[str, object]) -> str:
    if url.startswith("file:"):
        return "this machine"
    return host_of(url, hosts).removeprefix("www.")


def _state(status: str, absence: str | None) -> str:
    if status == DownloadStatus.VERIFIED:
        return "exist"
    if status in (DownloadStatus.INVALID, DownloadStatus.FORGOTTEN):
        return "left_out"
    if status in TEMPORARY_STATUSES:
        return "unknown"
    return absence or "failed"


def import_list(
    path: Path,
    format_name: str,
    output: Path,
    fix_split: bool,
    strict: bool = False,
    list_name: str | None = None,
) -> SourcesReport:
    """Convert a published list without its bad rows; `output` is replaced only if what is left is valid.

    Args:
        path: the list.
        format_name: names its importer.
        output: our list.
        fix_split: move identities and videos in both splits to test.
        strict: refuse a list with bad rows.
        list_name: value of the column `list`; None is the name of the file or folder without its ending.

    Raises:
        ValueError: the list is missing or has no usable row, `strict` is on and rows are bad, or `fix_split`
            is off and identities or videos are in both splits.
    """
    importer = load_importer(format_name)
    if not path.is_file() and not (importer.takes_folder and path.is_dir()):
        raise ValueError(f"got no file at {path}; a published list of sources is needed; give its path")
    imported = importer.read(path)
    cleaned = clean_rows(imported, fix_split)
    bad_rows = [*imported.problems, *cleaned.problems]
    if bad_rows and (strict or not cleaned.rows):
        raise ValueError(f"got {len(bad_rows)} bad rows in {path}; correct them: " + " | ".join(bad_rows))
    if cleaned.leaks and not fix_split:
        raise ValueError(
            f"got {len(cleaned.leaks)} identities or videos in both train and test, such as "
            f"{cleaned.leaks[0]}; splits must share none; --fix-split moves them to test"
        )
    with write_atomically(output) as partial:
        write_rows(partial, cleaned.rows, list_name or path.resolve().stem)
        # Read it back before it replaces a list that works.
        rows = read_sources(partial)
    return SourcesReport(
        output=output,
        num_rows=len(rows),
        splits={split: sum(row.split == split for row in rows) for split in ("train", "test", "auto")},
        duplicates=cleaned.duplicates,
        clamped=cleaned.clamped,
        fixed_leaks=cleaned.leaks,
        bad_rows=bad_rows,
        skipped=imported.skipped,
    )


def report_lines(report: SourcesReport) -> str:
    """Format the report for a terminal; of long lists it shows the first ones."""
    counts = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    lines = [
        f"{report.output}: {report.num_rows} rows, {counts}",
        f"duplicates dropped: {_places(report.duplicates)}",
        f"boxes clipped to the frame: {_places(report.clamped)}",
        f"in both splits, moved to test: {', '.join(_first(report.fixed_leaks)) or 'none'}",
        f"bad rows left out: {len(report.bad_rows) or 'none'}",
        *(f"  {problem}" for problem in _first(report.bad_rows)),
    ]
    if report.skipped:
        lines += [
            f"files skipped: {len(report.skipped)}",
            *(f"  {remark}" for remark in _first(report.skipped)),
        ]
    return "\n".join(lines)


def _places(places: list[int | str]) -> str:
    if not places:
        return "none"
    return f"{len(places)} (rows {', '.join(_first(places))})"


def _first(items: Sequence[object]) -> list[str]:
    """Return the first items, and how many follow them."""
    shown = [str(item) for item in items[:NUM_SHOWN]]
    more = len(items) - NUM_SHOWN
    return [*shown, f"and {more} more (--json lists all)"] if more > 0 else shown
