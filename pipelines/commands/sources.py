"""`lia sources import`: converts a published list of sources to ours and reports what was wrong with it."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

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


def import_list(
    path: Path, format_name: str, output: Path, fix_split: bool, strict: bool = False
) -> SourcesReport:
    """Convert a published list without its bad rows; `output` is replaced only if what is left is valid.

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
        write_rows(partial, cleaned.rows)
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
