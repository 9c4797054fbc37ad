"""The list of sources, one row a video or a part of one, checked as a whole before anything starts.

Columns: url (required), source_id, start_s, end_s, bbox (left-top-right-bottom) with the width and height it
refers to, identity, split (train, test, auto or by_time), licence, note. Other columns are kept for the
ledger.
"""

import csv
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "test", "auto", "by_time"]
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
)


class Source(BaseModel):
    """One row of the list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str
    """Canonical address."""
    key: str
    """sha1 of the address: the name of the video everywhere."""
    source_id: str | None
    """The list's own name for it."""
    start_s: float | None
    """Where the part begins; None is the video's beginning."""
    end_s: float | None
    """Where the part ends; None is the video's end."""
    bbox: tuple[float, float, float, float] | None
    """Where the wanted face is: left, top, right, bottom in a frame of `bbox_size`."""
    bbox_size: tuple[int, int] | None
    """Width and height that `bbox` refers to."""
    identity: str | None
    """Name of the person, the same in every row that shows them."""
    split: Split
    """Wanted split."""
    licence: str | None
    """Terms under which the video may be used."""
    note: str | None
    """Anything else."""
    extra: dict[str, str]
    """Columns that we do not know."""

    @property
    def row_key(self) -> str:
        """Return a name that differs between two parts of one video."""
        part = (self.start_s, self.end_s, self.bbox)
        if part == (None, None, None):
            return f"{self.key}-whole"
        return f"{self.key}-{hashlib.sha1(repr(part).encode()).hexdigest()[:8]}"


def canonical_url(url: str) -> str:
    """Return the address with a lower-case host, without a default port and without a fragment.

    Raises:
        ValueError: not an http or https address, nor a file:// address of this machine.
    """
    parts = urlsplit(url.strip())
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return f"file://{quote(unquote(parts.path))}"
    host = (parts.hostname or "").lower()
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ValueError(f"got url {url!r}; an http, https or file:// address is needed; correct the row")
    scheme = parts.scheme.lower()
    default_port = {"http": 80, "https": 443}[scheme]
    host = f"[{host}]" if ":" in host else host
    netloc = host if parts.port in (None, default_port) else f"{host}:{parts.port}"
    return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))


def source_key(url: str) -> str:
    """Return the sha1 of the canonical address, in hex."""
    return hashlib.sha1(canonical_url(url).encode()).hexdigest()


def read_sources(path: Path) -> list[Source]:
    """Return every row of the list, in its order.

    Raises:
        ValueError: the file is missing or has bad rows; all of them are named at once, with their line
        numbers.
    """
    if not path.is_file():
        raise ValueError(
            f"got no list of sources at {path}; a CSV file with a url column is needed; write one"
        )
    sources: list[Source] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    lines: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "url" not in (reader.fieldnames or ()):
            raise ValueError(
                f"got {path} with columns {list(reader.fieldnames or ())}; a column url is needed; "
                f"the known columns are {', '.join(COLUMNS)}"
            )
        for row in reader:
            try:
                source = _read_row(row)
                if source.row_key in seen:
                    raise ValueError(
                        f"got the same part of {source.url} as line {seen[source.row_key]}; "
                        "one row each is allowed; remove one"
                    )
            except ValueError as error:
                problems.append(f"line {reader.line_num}: {error}")
                continue
            seen[source.row_key] = lines[source.row_key] = reader.line_num
            sources.append(source)
    problems += _leaks(sources, lines)
    if problems:
        raise ValueError(f"got {len(problems)} bad rows in {path}; correct them: " + " | ".join(problems))
    if not sources:
        raise ValueError(f"got no rows in {path}; at least one source is needed; add a line with its url")
    return sources


def assign_splits(
    sources: Sequence[Source],
    test_fraction: float,
    seed: int,
    people: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Split]:
    """Return train, test or by_time for every row key.

    Rows that share a video or a person form a group and go to one split: the one a row of the group asks
    for, else by a hash of the group's name, so that adding sources never moves others. by_time rows keep
    their split.

    Args:
        sources: the rows.
        test_fraction: share of the groups without a wish that go to test.
        seed: which these are.
        people: names of those who were found in each row's video, beside its own identity, by row key.

    Raises:
        ValueError: rows of one group ask for different splits.
    """
    splits: dict[str, Split] = {}
    for group in _groups(sources, people or {}):
        wanted = {source.split for source in group} & {"train", "test"}
        if len(wanted) > 1:
            urls = ", ".join(sorted({f"{source.url} ({source.split})" for source in group}))
            raise ValueError(
                f"got one person or video in both train and test: {urls}; splits must share none; correct "
                "split or identity in data/sources.csv"
            )
        name = min(source.identity or source.key for source in group)
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        is_test = int.from_bytes(digest[:8], "big") / 2**64 < test_fraction
        chosen: Split = "test" if wanted == {"test"} or (not wanted and is_test) else "train"
        for source in group:
            splits[source.row_key] = "by_time" if source.split == "by_time" else chosen
    return splits


def _groups(sources: Iterable[Source], people: Mapping[str, Collection[str]]) -> list[list[Source]]:
    """Return the rows grouped so that no two groups share a video or a person."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    listed = list(sources)
    for source in listed:
        video = root(f"video {source.key}")
        names = () if source.identity is None else (source.identity,)
        for name in (*names, *people.get(source.row_key, ())):
            # A source divided by time shows its person on both sides by wish; nobody else must follow it.
            if source.split != "by_time" or name in names:
                parent[root(video)] = root(f"identity {name}")
    groups: dict[str, list[Source]] = {}
    for source in listed:
        groups.setdefault(root(f"video {source.key}"), []).append(source)
    return list(groups.values())


def _leaks(sources: Sequence[Source], lines: dict[str, int]) -> list[str]:
    """Name the groups that were asked into more than one split."""
    problems = []
    for group in _groups(sources, {}):
        wanted = sorted({source.split for source in group} - {"auto", "by_time"})
        if len(wanted) > 1:
            rows = ", ".join(str(lines[source.row_key]) for source in group)
            problems.append(
                f"lines {rows}: got splits {' and '.join(wanted)} for one video or identity; "
                "only one is allowed; choose one"
            )
    return problems


def _read_row(row: dict[str | None, str | list[str] | None]) -> Source:
    if None in row or None in row.values():
        raise ValueError(
            "got a row with another number of fields than the header; check its commas and quotes"
        )
    values = {name: str(value).strip() for name, value in row.items() if name is not None}
    url = canonical_url(values["url"])
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
        extra={name: value for name, value in values.items() if name not in COLUMNS},
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
        size = int(values.get("width", "")), int(values.get("height", ""))
    except ValueError:
        left = top = right = bottom = math.nan
        size = 0, 0
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise ValueError(
            f"got bbox {text!r} with width {values.get('width')!r} and height {values.get('height')!r}; "
            "left-top-right-bottom inside that width and height is needed; correct the row"
        )
    return (left, top, right, bottom), size
