"""`lia sources import`: a published list of sources into our own, with a report of what was wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from preprocessing.sources.importers.celebv import read_celebv
from preprocessing.sources.importers.folder import read_folder
from preprocessing.sources.importers.fomm import read_fomm
from preprocessing.sources.importers.frames import read_frames
from preprocessing.sources.importers.hdtf import read_hdtf
from preprocessing.sources.importers.imported import ImportedRow, put_in_order, write_list
from preprocessing.sources.importers.talkinghead import read_talkinghead
from preprocessing.sources.importers.voxceleb import read_voxceleb
from preprocessing.sources.source_list import read_sources

Format = Literal["fomm-csv", "voxceleb-txt", "talkinghead1kh", "celebv-json", "hdtf", "folder", "frames"]
READERS: dict[Format, Callable[[Path], list[ImportedRow]]] = {
    "fomm-csv": read_fomm,
    "voxceleb-txt": read_voxceleb,
    "talkinghead1kh": read_talkinghead,
    "celebv-json": read_celebv,
    "hdtf": read_hdtf,
    "folder": read_folder,
    "frames": read_frames,
}
FROM_FOLDERS: tuple[Format, ...] = ("voxceleb-txt", "hdtf", "folder", "frames")
"""These read a folder too."""


class Report(BaseModel):
    """What came of an import."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    output: Path
    """The list that was written."""
    num_rows: int
    """Its rows."""
    splits: dict[str, int]
    """Of them, how many in each split."""
    duplicates: list[int | str]
    """Rows left out, since an earlier one says the same."""
    clamped: list[int | str]
    """Rows whose box was cut off at the frame's edge."""
    fixed_leaks: list[str]
    """People and videos that were in both splits and are in test now."""


def import_list(file: Path, format_name: Format, output: Path, fix_split: bool) -> Report:
    """Convert a published list; nothing is written where something is wrong.

    Raises:
        ValueError: the file is missing or bad, or its splits share people or videos and `fix_split` is off.
    """
    if not file.is_file() and not (format_name in FROM_FOLDERS and file.is_dir()):
        raise ValueError(f"got no file at {file}; a published list of sources is needed; give its path")
    imported = put_in_order(READERS[format_name](file), fix_split)
    if imported.leaks and not fix_split:
        raise ValueError(
            f"got {len(imported.leaks)} people or videos in both train and test, such as "
            f"{imported.leaks[0]}; splits must share none; --fix-split moves them to test"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    candidate = output.with_name(f".{output.name}.imported")
    try:
        write_list(candidate, imported.rows)
        # Our own reader is the judge, before anything that was there is replaced.
        rows = read_sources(candidate)
        candidate.replace(output)
    finally:
        candidate.unlink(missing_ok=True)
    splits = {split: sum(row.split == split for row in rows) for split in ("train", "test", "auto")}
    return Report(
        output=output,
        num_rows=len(rows),
        splits=splits,
        duplicates=imported.duplicates,
        clamped=imported.clamped,
        fixed_leaks=imported.leaks,
    )


def as_lines(report: Report) -> str:
    """Lay the report out for a terminal."""
    counts = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    lines = [
        f"{report.output}: {report.num_rows} rows, {counts}",
        f"duplicates left out: {_lines(report.duplicates)}",
        f"boxes cut off at the frame's edge: {_lines(report.clamped)}",
        f"in both splits, now in test: {', '.join(report.fixed_leaks) or 'none'}",
    ]
    return "\n".join(lines)


def _lines(places: list[int | str]) -> str:
    if not places:
        return "none"
    return f"{len(places)} (rows {', '.join(str(place) for place in places)})"
