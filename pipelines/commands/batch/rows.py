"""The rows of a batch: read from the user's CSV file, and written with their results to results.csv.

Files are named by paths, or by URLs of an object store such as s3://bucket/portrait.jpg.
A column beside source and driving sets one field of `AnimationOptions`, or the model or the priority at a
service; an empty cell leaves the default.
Blanks around names and values do not count, nor does the case of a column's name.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lia_model.animation.options import AnimationOptions, read_options
from pipelines.commands.batch.places import joined
from preprocessing.sources.columns import read_header
from preprocessing.storage.files import write_atomically

FILES = ("source", "driving")
RESULTS = ("status", "output", "frames", "error")
OPTIONS = tuple(AnimationOptions.model_fields)
AT_SERVICE = ("model", "priority")
SETTABLE = (*OPTIONS, *AT_SERVICE)
MAX_PRIORITY = 100
ALWAYS_WRITTEN = "mode"
"""The one option that is a column of results.csv even if the batch does not set it."""


@dataclass(frozen=True)
class BatchRow:
    """One requested animation and its result."""

    source: str
    """Absolute path, or URL."""
    driving: str
    """Absolute path, or URL."""
    options: AnimationOptions = field(default_factory=AnimationOptions)
    status: str = "missing"
    """`missing` until the row has ended, then how: `succeeded`, `failed` or `cancelled`."""
    output: str = ""
    """Absolute path or URL of the video; empty without one."""
    frames: int = 0
    """Frames of the video."""
    error: str = ""
    """Code and message; empty without an error."""
    rejected: tuple[tuple[str, str], ...] | None = None
    """Names and cells of the options of a line that cannot be animated, for the reason in `error`."""
    model: str = ""
    """Version or alias of the service's model; empty is its default."""
    priority: int = 0
    """Of the rows that wait at the service the highest starts first."""

    @property
    def key(self) -> tuple[str, ...]:
        """Return the requested animation; rows with equal keys share one result."""
        if self.rejected is not None:
            return self.source, self.driving, "rejected", *(f"{name}={cell}" for name, cell in self.rejected)
        set_here = self.options.model_dump(exclude_defaults=True, exclude={"mode"})
        others = (f"{name}={value}" for name, value in set_here.items())
        model = [f"model={self.model}"] if self.model else []
        return self.source, self.driving, self.options.mode, *others, *model

    @property
    def has_succeeded(self) -> bool:
        """Return whether the row got its video, which may have been removed since."""
        return self.status == "succeeded"


def output_name(row: BatchRow) -> str:
    """Return the video's file name without `.mp4`: the names of both files and a hash of the row's key."""
    mark = hashlib.sha256("\0".join(row.key).encode()).hexdigest()[:8]
    names = (re.sub(r"[^A-Za-z0-9-]+", "_", Path(path).stem)[:60] for path in (row.source, row.driving))
    return "_by_".join(name or "unnamed" for name in names).lstrip("-") + f"_{mark}"


def read_batch(path: Path, folder: str | None = None) -> list[BatchRow]:
    """Read the CSV file and make its paths absolute; a bad line becomes a row that has failed.

    Args:
        path: the CSV file.
        folder: what its paths are relative to, a folder or a URL; None is the folder of the file.

    Raises:
        ValueError: the file or a column is missing, or there are no rows.
    """
    if not path.is_file():
        raise ValueError(
            f"got manifest {path}, which does not exist: give a CSV file with columns source,driving"
        )
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    columns = read_header(reader.fieldnames or [], (*FILES, *SETTABLE, *RESULTS), path)
    if missing := [name for name in FILES if name not in columns]:
        raise ValueError(
            f"got {path} with no column {' and no column '.join(missing)}: make the first line "
            f"source,driving, and add columns as needed of {', '.join(SETTABLE)}"
        )
    reader.fieldnames = columns
    folder = folder or str(path.resolve().parent)
    rows = [_row(_stripped(line), folder, reader.line_num) for line in reader]
    if not rows:
        raise ValueError(f"got {path} with no rows below the header: add one per animation")
    return rows


def read_results(path: Path) -> list[BatchRow]:
    """Read the results of an earlier run, none if there is no such file.

    Raises:
        ValueError: the file was not written by `write_results`.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not _is_ours(reader.fieldnames or ()):
            raise ValueError(
                f"got {path}, which was not written by lia batch: remove it, or give another output folder"
            )
        return [
            replace(
                _read_options_of(line["source"], line["driving"], line),
                status=line["status"],
                output=line["output"],
                frames=int(line["frames"]),
                error=line["error"],
            )
            for line in reader
        ]


def write_results(path: Path, rows: Sequence[BatchRow]) -> None:
    """Write the rows with their results; options that every row leaves at its default have no column."""
    changed = {name for row in rows for name in row.options.model_dump(exclude_defaults=True)}
    changed |= {name for row in rows for name, _ in row.rejected or ()}
    changed |= {name for row in rows for name in AT_SERVICE if getattr(row, name)}
    options = [name for name in SETTABLE if name in changed or name == ALWAYS_WRITTEN]
    with write_atomically(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*FILES, *options, *RESULTS])
        for row in rows:
            set_here = row.options.model_dump() | {name: getattr(row, name) for name in AT_SERVICE}
            values = set_here if row.rejected is None else dict(row.rejected)
            chosen = [_as_text(values.get(name, "")) for name in options]
            writer.writerow([row.source, row.driving, *chosen, *(getattr(row, name) for name in RESULTS)])


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"got {path} with bytes that are not UTF-8 in line {number}: save the file as UTF-8"
        ) from error


def _stripped(line: dict[str, Any]) -> dict[str, Any]:
    return {name: text.strip() if isinstance(text, str) else text for name, text in line.items()}


def _row(line: dict[str, Any], folder: str, number: int) -> BatchRow:
    source, driving = (joined(folder, line[name]) if line[name] else "" for name in FILES)
    row = _read_options_of(source, driving, line)
    error = row.error
    if None in line:
        error = "more fields than the header: quote fields with commas"
    for name in FILES:
        if not line[name]:
            error = f"{name} is empty: give a path"
    if not error:
        return row
    return replace(row, status="failed", error=f"line {number}: {error}", rejected=_cells(line))


def _read_options_of(source: str, driving: str, line: Mapping[str, Any]) -> BatchRow:
    """Return the row of a line; one with a bad option is rejected, with the reason as its error."""
    try:
        options = read_options({name: cell for name, cell in _cells(line) if name in OPTIONS})
        priority = _priority(line.get("priority") or "0")
        return BatchRow(source, driving, options, model=line.get("model") or "", priority=priority)
    except ValueError as error:
        return BatchRow(source, driving, status="failed", error=str(error), rejected=_cells(line))


def _priority(cell: str) -> int:
    try:
        priority = int(cell)
    except ValueError:
        priority = None
    if priority is None or abs(priority) > MAX_PRIORITY:
        raise ValueError(f"priority is {cell!r}; it is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return priority


def _cells(line: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, line[name]) for name in SETTABLE if line.get(name))


def _is_ours(columns: Iterable[str]) -> bool:
    expected = [name for name in (*FILES, *SETTABLE, *RESULTS) if name in columns]
    return list(columns) == expected and {*FILES, ALWAYS_WRITTEN, *RESULTS} <= set(columns)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
