"""What an importer is, what it returns, and what several importers share."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, overload

from preprocessing.media.boxes import Box
from preprocessing.sources.sites import youtube_watch_url
from preprocessing.sources.source import Split

SPLIT_FOLDERS: tuple[Split, ...] = ("train", "test")
_VIDEO_ID = re.compile(r"([A-Za-z0-9_-]+)(?:#\d+)?")
Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class ImportedRow:
    """One part of one video, as a published list describes it."""

    place: int | str
    """Where the row comes from, for messages: a line number, or a file or clip name."""
    url: str
    start_s: float | None = None
    """None is the video's beginning."""
    end_s: float | None = None
    """None is the video's end."""
    box: Box | None = None
    """The face, in a frame of `frame_size`; may reach over the frame's edge."""
    frame_size: tuple[int, int] | None = None
    """Width and height that `box` refers to; a width of 0 stands for the video's aspect. None: no box."""
    identity: str | None = None
    split: Split = "auto"


@dataclass(frozen=True)
class ImportedList(Sequence[ImportedRow]):
    """The usable rows of a list, and why others are left out."""

    rows: list[ImportedRow]
    problems: list[str] = field(default_factory=list)
    """One message for each bad row."""
    skipped: list[str] = field(default_factory=list)
    """One remark for each file that is no part of the list."""

    @overload
    def __getitem__(self, index: int) -> ImportedRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[ImportedRow]: ...

    def __getitem__(self, index: int | slice) -> ImportedRow | list[ImportedRow]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Importer:
    """Reads one published format."""

    read: Callable[[Path], ImportedList]
    """Returns the rows of a list; raises a ValueError if it is of another format or has no usable row."""
    takes_folder: bool = False
    """Whether `read` accepts a folder; every importer accepts a file."""


def read_rows(
    path: Path, records: Iterable[tuple[str, Record]], read: Callable[[Record], ImportedRow]
) -> ImportedList:
    """Return `read(record)` for each record, and the message of each bad one.

    Args:
        path: the list, for messages.
        records: place, for messages, and content.
        read: raises ValueError for a bad record.

    Raises:
        ValueError: no record is usable; all bad ones are named.
    """
    rows, problems = [], []
    for place, record in records:
        try:
            rows.append(read(record))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    return require_rows(path, rows, problems)


def require_rows(
    path: Path, rows: list[ImportedRow], problems: Sequence[str] = (), skipped: Sequence[str] = ()
) -> ImportedList:
    """Return the list of `rows`.

    Raises:
        ValueError: there are none.
    """
    if rows:
        return ImportedList(rows, list(problems), list(skipped))
    if problems:
        raise ValueError(f"got {len(problems)} bad rows and no other in {path}: " + " | ".join(problems))
    raise ValueError(f"got no rows in {path}; at least one is needed; check that the file is complete")


def local_row(root: Path, path: Path, identity: str | None) -> ImportedRow:
    """Return the row of a video or picture folder below `root`; a first folder train or test is its split."""
    place = path.relative_to(root)
    splits: dict[str, Split] = {name: name for name in SPLIT_FOLDERS}
    split = splits.get(place.parts[0], "auto") if place.parts else "auto"
    return ImportedRow(place=str(place), url=path.resolve().as_uri(), identity=identity, split=split)


def youtube_url(video: str, name: str) -> str:
    """Return the address of a YouTube video.

    Args:
        video: its id; a trailing `#<number>` (a part of the video) is dropped.
        name: the list's name for the id, for the message.

    Raises:
        ValueError: not an id.
    """
    found = _VIDEO_ID.fullmatch(video.strip())
    if found is None:
        raise ValueError(f"got {name} {video!r}; a YouTube id of letters, digits, - and _ is needed")
    return youtube_watch_url(found[1])
