"""Cleans imported rows: duplicates, boxes over the frame's edge, and leaks between train and test.

Published lists have all three. Pure, except for `write_rows`.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.importer import ImportedRow
from preprocessing.sources.source import canonical_url
from preprocessing.sources.source_list import COLUMNS
from preprocessing.storage.files import write_atomically


@dataclass(frozen=True)
class CleanRows:
    """Rows without duplicates and with boxes inside their frames, and what was changed."""

    rows: list[ImportedRow]
    """In the published order."""
    duplicates: list[int | str]
    """Places of rows that were dropped because an earlier row equals them."""
    clamped: list[int | str]
    """Places of rows whose box was clipped to the frame."""
    leaks: list[str]
    """Identities and videos that the published list has in both splits."""
    problems: list[str]
    """One message for each row that is left out: its box misses the frame, or its URL is invalid."""


def clean_rows(rows: Sequence[ImportedRow], fix_split: bool) -> CleanRows:
    """Drop bad rows and duplicates, clip boxes to the frame and find leaks between the splits.

    Args:
        rows: as published.
        fix_split: move rows that share an identity or a video with a test row to test, until no leak is left.
    """
    kept: dict[tuple, ImportedRow] = {}
    duplicates, clamped, problems = [], [], []
    for row in rows:
        problem = _problem(row)
        if problem is not None:
            problems.append(f"{_place(row)}: {problem}")
            continue
        box = _clipped_box(row)
        part = (canonical_url(row.url), row.start_s, row.end_s, box)
        if part in kept:
            duplicates.append(row.place)
            continue
        if box != row.box:
            clamped.append(row.place)
        kept[part] = replace(row, box=box)
    found = list(kept.values())
    leaks = sorted(_leaks(found))
    return CleanRows(_without_leaks(found) if fix_split else found, duplicates, clamped, leaks, problems)


def write_rows(path: Path, rows: Sequence[ImportedRow], list_name: str | None = None) -> None:
    """Write a list of sources that `read_sources` reads, each row with the name of the published list."""
    with write_atomically(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            record = _record(row) | {"list": list_name}
            writer.writerow([record.get(name) for name in COLUMNS])


def _record(row: ImportedRow) -> dict[str, object]:
    record: dict[str, object] = {
        "url": row.url,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "identity": row.identity,
        "split": row.split,
    }
    if row.box is not None and row.frame_size is not None:
        record["bbox"] = "-".join(f"{side:g}" for side in row.box)
        width, height = row.frame_size
        record["width"], record["height"] = width or None, height
    return record


def _place(row: ImportedRow) -> str:
    return f"line {row.place}" if isinstance(row.place, int) else row.place


def _problem(row: ImportedRow) -> str | None:
    try:
        canonical_url(row.url)
    except ValueError as error:
        return str(error)
    if row.box is not None and _clipped_box(row) is None:
        return f"got a box outside the frame, {'-'.join(f'{side:g}' for side in row.box)}; it must overlap it"
    return None


def _clipped_box(row: ImportedRow) -> Box | None:
    """Return the part of the row's box inside its frame; None without a box or such a part."""
    if row.box is None or row.frame_size is None:
        return None
    width, height = row.frame_size
    # Without a known width, what reaches over the right edge is cut off only once the video is known.
    width = width or math.inf
    left, top, right, bottom = row.box
    inside = Box(max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    return inside if inside.left < inside.right and inside.top < inside.bottom else None


def _names(row: ImportedRow) -> Iterator[str]:
    yield f"video {canonical_url(row.url)}"
    if row.identity is not None:
        yield f"identity {row.identity}"


def _leaks(rows: Sequence[ImportedRow]) -> set[str]:
    in_train, in_test = (
        {name for row in rows if row.split == split for name in _names(row)} for split in ("train", "test")
    )
    return in_train & in_test


def _without_leaks(rows: Sequence[ImportedRow]) -> list[ImportedRow]:
    # Moving a person's rows can move a video that others share, hence the loop.
    rows = list(rows)
    while leaks := _leaks(rows):
        rows = [replace(row, split="test") if leaks & set(_names(row)) else row for row in rows]
    return rows
