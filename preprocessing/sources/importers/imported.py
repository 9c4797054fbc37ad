"""What an import brings: rows for our list of sources, put in order, and what was wrong with them.

Published lists repeat rows, draw boxes over the frame's edge and let one person into both splits. Pure.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preprocessing.media.boxes import Box
from preprocessing.sources.source_list import COLUMNS

SPLIT_FOLDERS = ("train", "test")
_VIDEO_ID = re.compile(r"([A-Za-z0-9_-]+)(?:#\d+)?")


@dataclass(frozen=True)
class ImportedRow:
    """One part of one video, as a published list has it."""

    place: int | str
    """Where it stands in what was published: a line's number, or a file or clip."""
    url: str
    start_s: float | None
    """Where the part begins; None is the video's beginning."""
    end_s: float | None
    """Where the part ends; None is the video's end."""
    box: Box | None
    """In a frame of `frame_size`; may reach over its edge."""
    frame_size: tuple[int, int]
    """Width and height that the box refers to."""
    identity: str | None
    """Name of the person, None where the list has none."""
    split: str
    """train, test or auto."""


def on_disk(root: Path, path: Path, identity: str | None) -> ImportedRow:
    """Return a whole video's row, or of a folder of pictures; a first folder train or test is its split."""
    place = path.relative_to(root)
    return ImportedRow(
        place=str(place),
        url=path.resolve().as_uri(),
        start_s=None,
        end_s=None,
        box=None,
        frame_size=(0, 0),
        identity=identity,
        split=next((name for name in place.parts[:1] if name in SPLIT_FOLDERS), "auto"),
    )


@dataclass(frozen=True)
class Imported:
    """Rows that our list can hold, and what was done to get there."""

    rows: list[ImportedRow]
    """In the published order."""
    duplicates: list[int | str]
    """Rows that were left out, since an earlier one says the same."""
    clamped: list[int | str]
    """Rows whose box was cut off at the frame's edge."""
    leaks: list[str]
    """People and videos that the published list has in both splits."""


def put_in_order(rows: Sequence[ImportedRow], fix_split: bool) -> Imported:
    """Leave out duplicates, cut boxes off at the frame's edge and look for leaks between the splits.

    Args:
        rows: as published.
        fix_split: move every row that shares a person or a video with a test row to test, until none is left.

    Raises:
        ValueError: boxes lie wholly outside their frames; all are named.
    """
    outside = [row.place for row in rows if row.box is not None and _clamp(row.box, row.frame_size) is None]
    if outside:
        raise ValueError(
            f"got boxes that lie outside the frame in rows {_listed(outside)}; boxes must overlap it; "
            "correct or remove them"
        )
    kept: dict[tuple, ImportedRow] = {}
    duplicates, clamped = [], []
    for row in rows:
        box = None if row.box is None else _clamp(row.box, row.frame_size)
        part = (row.url, row.start_s, row.end_s, box)
        if part in kept:
            duplicates.append(row.place)
            continue
        if box != row.box:
            clamped.append(row.place)
        kept[part] = replace(row, box=box)
    found = list(kept.values())
    leaks = sorted(_leaks(found))
    return Imported(_without_leaks(found) if fix_split else found, duplicates, clamped, leaks)


def youtube_url(video: str, name: str) -> str:
    """Return the address of a YouTube video.

    Args:
        video: its id; a number of a part behind a # is no part of it.
        name: what the list calls the id, for the message.

    Raises:
        ValueError: it is no id.
    """
    found = _VIDEO_ID.fullmatch(video.strip())
    if found is None:
        raise ValueError(f"got {name} {video!r}; a YouTube id of letters, digits, - and _ is needed")
    return f"https://www.youtube.com/watch?v={found[1]}"


def bad_rows(path: Path, problems: Sequence[str]) -> ValueError:
    """Return the error that names all bad rows at once, or says that there is no row."""
    if not problems:
        return ValueError(f"got no rows in {path}; at least one is needed; is it the whole file?")
    return ValueError(f"got {len(problems)} bad rows in {path}; correct them: " + " | ".join(problems))


def write_list(path: Path, rows: Sequence[ImportedRow]) -> None:
    """Write our list of sources, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            record = _record(row)
            writer.writerow([record.get(name) for name in COLUMNS])
    partial.replace(path)


def _record(row: ImportedRow) -> dict[str, object]:
    record: dict[str, object] = {
        "url": row.url,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "identity": row.identity,
        "split": row.split,
    }
    if row.box is not None:
        record["bbox"] = "-".join(f"{side:g}" for side in row.box)
        record["width"], record["height"] = row.frame_size
    return record


def _clamp(box: Box, frame_size: tuple[int, int]) -> Box | None:
    """Return the part of the box inside the frame, None where there is none."""
    width, height = frame_size
    inside = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    return inside if inside.left < inside.right and inside.top < inside.bottom else None


def _names(row: ImportedRow) -> Iterator[str]:
    yield f"video {row.url}"
    if row.identity is not None:
        yield f"identity {row.identity}"


def _leaks(rows: Sequence[ImportedRow]) -> set[str]:
    in_split = {
        split: {name for row in rows if row.split == split for name in _names(row)}
        for split in ("train", "test")
    }
    return in_split["train"] & in_split["test"]


def _without_leaks(rows: Sequence[ImportedRow]) -> list[ImportedRow]:
    # Moving a person's rows may move a video that others share, so it goes on until nothing moves.
    rows = list(rows)
    while leaks := _leaks(rows):
        rows = [replace(row, split="test") if leaks & set(_names(row)) else row for row in rows]
    return rows


def _listed(places: Sequence[int | str]) -> str:
    return ", ".join(str(place) for place in places)
