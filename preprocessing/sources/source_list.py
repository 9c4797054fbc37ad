"""Reads the list of sources, a CSV with one row per video or part of one, and validates it as a whole.

Columns: url (required), source_id, start_s, end_s, bbox (left-top-right-bottom) with the width and height of
its frame (an empty width is that of the video's aspect), identity, split (train, test, auto or by_time),
licence, note, list (the published list that the row comes from). Other columns are warned about and go to the
ledger. Case and surrounding blanks of a column's name do not count, nor do blanks around a value.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from preprocessing.sources.columns import read_header
from preprocessing.sources.source import Source, Split, plain_url, source_key
from preprocessing.sources.splits import mixed_groups

COLUMNS = (
    "url",
    "source_id",
    "start_s",
    "end_s",
    "bbox",
    "width",
    "height",
    "identity",
    "split",
    "licence",
    "note",
    "list",
)


@dataclass(frozen=True, slots=True)
class BadRow:
    """An invalid row."""

    line: int
    """Line number, from 1."""
    text: str
    """The line."""
    problem: str
    """Error message: what was found, what is allowed, what to do."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


@dataclass(frozen=True)
class SourceList:
    """The rows of a list, valid and invalid ones, each in the file's order."""

    sources: list[Source]
    bad_rows: list[BadRow]


def read_sources(path: Path) -> list[Source]:
    """Return all rows of the list, in order; use `read_valid_sources` to skip bad rows.

    Raises:
        ValueError: the file is missing or has bad rows; all are named, with their line numbers.
    """
    listed, leaks = _read(path)
    problems = [*map(str, listed.bad_rows), *leaks]
    if problems:
        raise ValueError(f"got {len(problems)} bad rows in {path}; correct them: " + " | ".join(problems))
    return _require_any(listed, path).sources


def read_valid_sources(path: Path) -> SourceList:
    """Return the valid rows, and the bad ones with their problems.

    Raises:
        ValueError: the file is missing, has no valid row, or lists one video or identity in both splits.
    """
    listed, leaks = _read(path)
    if leaks:
        raise ValueError(
            f"got {len(leaks)} leaks between train and test in {path}; correct them: " + " | ".join(leaks)
        )
    return _require_any(listed, path)


def _require_any(listed: SourceList, path: Path) -> SourceList:
    if not listed.sources:
        remark = f" but {len(listed.bad_rows)} bad ones" if listed.bad_rows else ""
        raise ValueError(f"got no rows in {path}{remark}; at least one is needed; add a line with a url")
    return listed


def _read(path: Path) -> tuple[SourceList, list[str]]:
    """Return the list, and one message for every video or identity in both splits."""
    if not path.is_file():
        raise ValueError(
            f"got no list of sources at {path}; a CSV file with a url column is needed; create one"
        )
    sources: list[Source] = []
    bad_rows: list[BadRow] = []
    lines: dict[str, int] = {}
    # One line per row, without line breaks in fields: an unclosed quote must not swallow the rows after it.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = _header(path, next(file, "").rstrip("\n"))
        if "url" not in names:
            raise ValueError(
                f"got {path} with columns {names}; a column url is needed; "
                f"the known columns are {', '.join(COLUMNS)}"
            )
        extra = [name for name in names if name not in COLUMNS]
        for number, line in enumerate(file, 2):
            text = line.rstrip("\n")
            if not text:
                continue
            try:
                source = _read_row(names, _fields(text), extra)
                first = lines.setdefault(source.row_key, number)
                if first != number:
                    raise ValueError(
                        f"got the same part of {source.url} as line {first}; "
                        "one row each is allowed; remove one"
                    )
            except ValueError as error:
                bad_rows.append(BadRow(number, text, str(error)))
                continue
            sources.append(source)
    leaks = [_name_leak(group, lines) for group in mixed_groups(sources)]
    return SourceList(sources, bad_rows), leaks


def _header(path: Path, line: str) -> list[str]:
    try:
        names = _fields(line)
    except ValueError as error:
        raise ValueError(f"{path}, line 1: {error}") from error
    return read_header(names, COLUMNS, path)


def _fields(line: str) -> list[str]:
    if "\ufffd" in line:
        raise ValueError("got bytes that are not UTF-8; UTF-8 is needed; save the list as UTF-8")
    try:
        return next(csv.reader((line,), strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        raise ValueError(f"got a line that is not CSV ({error}); check its commas and quotes") from error


def _name_leak(group: list[Source], lines: dict[str, int]) -> str:
    splits = sorted({source.split for source in group} - {"auto", "by_time"})
    rows = ", ".join(str(lines[source.row_key]) for source in group)
    return (
        f"lines {rows}: got splits {' and '.join(splits)} for one video or identity; "
        "only one is allowed; choose one"
    )


def _read_row(names: list[str], fields: list[str], extra: list[str]) -> Source:
    if len(fields) != len(names):
        raise ValueError(
            f"got {len(fields)} fields; {len(names)} are needed, as in the header; check commas and quotes"
        )
    values = {name: value.strip() for name, value in zip(names, fields, strict=True)}
    url = plain_url(values["url"])
    split = values.get("split") or "auto"
    if split not in get_args(Split):
        raise ValueError(f"got split {split!r}; {', '.join(get_args(Split))} are allowed; correct the row")
    start_s, end_s = (_seconds(values, name) for name in ("start_s", "end_s"))
    if end_s is not None and end_s <= (start_s or 0):
        raise ValueError(
            f"got end_s {end_s} and start_s {start_s or 0}; the end must come later; correct the row"
        )
    bbox, bbox_size = _bbox(values)
    return Source(
        url=url,
        key=source_key(url),
        source_id=values.get("source_id") or None,
        start_s=start_s,
        end_s=end_s,
        bbox=bbox,
        bbox_size=bbox_size,
        identity=values.get("identity") or None,
        split=split,  # pyright: ignore[reportArgumentType]  (checked above)
        licence=values.get("licence") or None,
        note=values.get("note") or None,
        list=values.get("list") or None,
        extra={name: values[name] for name in extra},
    )


def _seconds(values: dict[str, str], name: str) -> float | None:
    text = values.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"got {name} {text!r}; seconds from 0 are allowed; correct the row")
    return value


def _bbox(
    values: dict[str, str],
) -> tuple[tuple[float, float, float, float] | None, tuple[int, int] | None]:
    text = values.get("bbox")
    if not text:
        return None, None
    try:
        left, top, right, bottom = (float(part) for part in text.split("-"))
        size = int(values.get("width") or 0), int(values.get("height", ""))
    except ValueError:
        left = top = right = bottom = math.nan
        size = 0, 0
    if not (0 <= left < right <= (size[0] or math.inf) and 0 <= top < bottom <= size[1]):
        raise ValueError(
            f"got bbox {text!r} with width {values.get('width')!r} and height {values.get('height')!r}; "
            "left-top-right-bottom inside that width and height is needed, the width empty for that of the "
            "video's own aspect; correct the row"
        )
    return (left, top, right, bottom), size
