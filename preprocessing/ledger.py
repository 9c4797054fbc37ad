"""The ledger: two tables in which every source and every candidate clip has exactly one state.

Parquet, sorted, without timestamps, so that equal work gives equal files. `sources.parquet` is written by the
stage download, `clips.parquet` by the stage shards.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.outcome import Absence, DownloadStatus
from preprocessing.sources.source import Source
from preprocessing.storage.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Outcome of one source's download; the fields after `error` are None unless it is verified."""

    status: DownloadStatus
    error: str | None = None
    """One line for people; None if verified."""
    file: str | None = None
    """Name in the raw folder."""
    size_bytes: int | None = None
    sha256: str | None = None
    """In hex."""
    format_id: str | None = None
    """The downloader's name of the format."""
    vcodec: str | None = None
    """FFmpeg's name of the video codec."""
    acodec: str | None = None
    """Name of the audio codec; None without sound."""
    width_px: int | None = None
    """Of the upright frame."""
    height_px: int | None = None
    """Of the upright frame."""
    fps: float | None = None
    """Average frame rate."""
    duration_s: float | None = None
    """Seconds of video that decode."""
    downloader: str | None = None
    """Name and version of the program that downloaded it."""
    recipe: str | None = None
    """Hash of the settings that chose the file; None in records that were written without one."""
    absence: Absence | None = None
    """Why the host does not give it out; None if it does, and for failures of other kinds."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of `sources.parquet`: the columns of both."""

    source: Source
    download: Download


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """Scores of one candidate clip; None where a score could not be measured."""

    mean_score: float | None = None
    """Mean confidence of the detected faces, 0 to 1."""
    sharpness: float | None = None
    """Median variance of the face's Laplacian."""
    brightness: float | None = None
    """Median mean luma of the face, 0 to 255."""
    yaw_deg: float | None = None
    """Median absolute angle of the head to the left or right."""
    pitch_deg: float | None = None
    """Median angle of the head, positive downwards."""
    roll_deg: float | None = None
    """Median absolute tilt of the head."""
    other_face: float | None = None
    """Largest share of the crop that another face covers in any analysed frame."""
    motion: float | None = None
    """Mean change of the face's luma between analysed frames, 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow(ClipScores):
    """One candidate clip, or a source without candidates, which has neither scores nor a length.

    No model of pydantic's, each of which takes three times the memory: a run holds a row for every candidate.
    """

    key: str
    """The candidate's key, or the row key of a source without candidates."""
    row_key: str
    """Names the part of the source."""
    source_key: str
    """sha1 of the source's canonical URL."""
    url: str
    outcome: str
    """kept, filtered or failed."""
    reason: str | None = None
    """One word; only if filtered."""
    error: str | None = None
    """One line; only if failed."""
    retryable: bool | None = None
    """Whether a rerun may succeed; only if failed."""
    split: str | None = None
    """train or test."""
    identity: str | None = None
    """Name of who is shown, as listed or assigned."""
    num_frames: int | None = None
    start_s: float | None = None
    """First frame's time in the source."""
    end_s: float | None = None
    """End of the last frame."""
    face_px: float | None = None
    """Longer side of the union of the face's boxes."""
    track: int | None = None
    """Number of its track in the source."""
    person: int | None = None
    """Number of its person in the source; None if persons are not told apart."""
    duplicate_of: str | None = None
    """Key of the kept clip that shows the same recording."""

    @property
    def label(self) -> str:
        """Return the word under which the row is counted."""
        return f"{self.outcome}({self.reason})" if self.reason else self.outcome


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many rows failed with one error."""

    error: str
    """One line, in which `*` stands for the keys of the source."""
    retryable: bool
    """Whether a rerun may succeed."""
    num_rows: int
    url: str
    """One of the sources."""

    @property
    def prospect(self) -> str:
        """Return in words whether a rerun may succeed."""
        return "a rerun may succeed" if self.retryable else "permanent"


PIECE_NUM_ROWS = 50_000
"""Rows turned into columns at a time."""
_SOURCE_FIELDS = tuple(field.name for field in fields(Source))
_DOWNLOAD_FIELDS = tuple(field.name for field in fields(Download))
_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
_COLUMN_TYPES = {
    float: _REAL,
    int: _WHOLE,
    tuple[float, float, float, float]: pa.list_(_REAL),
    tuple[int, int]: pa.list_(_WHOLE),
}
"""Column type by field type, None aside; text for all others."""


def _column_type(annotation: object) -> pa.DataType:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _COLUMN_TYPES.get(kinds[0] if NoneType in get_args(annotation) else annotation, _TEXT)


SOURCES_SCHEMA = pa.schema(
    {
        name: _column_type(annotation)
        for row_type in (Source, Download)
        for name, annotation in get_type_hints(row_type).items()
    }
)
CLIPS_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("key", "row_key", "source_key", "url", "outcome", "reason", "error"), _TEXT),
        "retryable": pa.bool_(),
        **dict.fromkeys(("split", "identity"), _TEXT),
        "num_frames": _WHOLE,
        **dict.fromkeys(("start_s", "end_s", "face_px", "mean_score"), _REAL),
        **dict.fromkeys(("track", "person"), _WHOLE),
        **dict.fromkeys(("sharpness", "brightness", "yaw_deg", "pitch_deg", "roll_deg"), _REAL),
        **dict.fromkeys(("other_face", "motion"), _REAL),
        "duplicate_of": _TEXT,
    }
)


def write_sources(path: Path, rows: Sequence[SourceRow]) -> None:
    """Write the table of sources in order, that of the list; in pieces, since lists have a million rows."""
    pieces = (rows[start : start + PIECE_NUM_ROWS] for start in range(0, len(rows), PIECE_NUM_ROWS))
    _write(path, ([_source_record(row) for row in piece] for piece in pieces), SOURCES_SCHEMA)


def read_source_rows(path: Path) -> list[SourceRow]:
    """Read the table of sources.

    Raises:
        ValueError: the table does not exist.
    """
    facts: Iterator[dict[str, Any]] = (
        dict(zip(_DOWNLOAD_FIELDS, values, strict=True)) for values in _read_columns(path, _DOWNLOAD_FIELDS)
    )
    downloads = (_download(**fact) for fact in facts)
    return [SourceRow(*pair) for pair in zip(_read_listed(path), downloads, strict=True)]


def iterate_sources(path: Path) -> Iterator[Source]:
    """Yield the sources of the table in its order, without their downloads; invalid rows are skipped.

    Raises:
        ValueError: the table does not exist.
    """
    statuses = _read_columns(path, ("status",))
    for source, (status,) in zip(_read_listed(path), statuses, strict=True):
        if status != DownloadStatus.INVALID:
            yield source


def iterate_statuses(path: Path) -> Iterator[tuple[str, str | None, str, str | None]]:
    """Yield URL, published list, status and absence of each row of the table of sources.

    Raises:
        ValueError: the table does not exist.
    """
    yield from _read_columns(path, ("url", "list", "status", "absence"))


def write_clips(path: Path, rows: Sequence[ClipRow]) -> None:
    """Write the table of clips, sorted by key."""
    ordered = sorted(rows, key=lambda row: row.key)
    pieces = (ordered[start : start + PIECE_NUM_ROWS] for start in range(0, len(ordered), PIECE_NUM_ROWS))
    _write(path, ([asdict(row) for row in piece] for piece in pieces), CLIPS_SCHEMA)


def read_clip_rows(path: Path) -> list[ClipRow]:
    """Read the table of clips; columns that earlier versions wrote too are ignored."""
    return [ClipRow(**record) for record in pq.read_table(path, columns=CLIPS_SCHEMA.names).to_pylist()]


def count_sources(rows: Sequence[SourceRow]) -> dict[str, int]:
    """Return the number of sources by status; every status is a key."""
    counts = Counter(row.download.status for row in rows)
    return {status.value: counts[status] for status in DownloadStatus}


def count_clips(rows: Sequence[ClipRow]) -> dict[str, int]:
    """Return the number of rows by label; `kept` is always a key."""
    return dict(sorted(({"kept": 0} | Counter(row.label for row in rows)).items()))


def count_failures(rows: Iterable[ClipRow]) -> list[FailureCount]:
    """Return the failures summed by error and by whether a rerun may succeed, the most frequent first."""
    counts: Counter[tuple[str, bool]] = Counter()
    examples: dict[tuple[str, bool], str] = {}
    for row in rows:
        if row.outcome != "failed":
            continue
        # Without the row's own keys, errors that name its files are equal.
        error = (row.error or "").replace(row.row_key, "*").replace(row.source_key, "*")
        kind = (error, bool(row.retryable))
        counts[kind] += 1
        examples[kind] = min(row.url, examples.get(kind, row.url))
    ordered = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return [FailureCount(*kind, counts[kind], examples[kind]) for kind in ordered]


def _download(status: str, absence: str | None, **facts: Any) -> Download:  # noqa: ANN401
    known = None if absence is None else Absence(absence)
    return Download(status=DownloadStatus(status), absence=known, **facts)


def _source_record(row: SourceRow) -> dict[str, object]:
    source, download = row.source, row.download
    record: dict[str, object] = {name: getattr(source, name) for name in _SOURCE_FIELDS}
    record |= {name: getattr(download, name) for name in _DOWNLOAD_FIELDS}
    words = {"status": download.status.value, "absence": download.absence and download.absence.value}
    return record | words | {"extra": json.dumps(source.extra, sort_keys=True)}


def _read_listed(path: Path) -> Iterator[Source]:
    box, size, extra = (_SOURCE_FIELDS.index(name) for name in ("bbox", "bbox_size", "extra"))
    for values in _read_columns(path, _SOURCE_FIELDS):
        record = list(values)
        record[box] = record[box] and tuple(record[box])
        record[size] = record[size] and tuple(record[size])
        record[extra] = json.loads(record[extra])
        yield Source(**dict(zip(_SOURCE_FIELDS, record, strict=True)))


def _read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    if not path.is_file():
        raise ValueError(f"got no ledger at {path}; the download stage writes it; run `lia download`")
    with pq.ParquetFile(path) as table:
        # A table written before a column was added lacks it.
        present = set(table.schema_arrow.names)
        for batch in table.iter_batches(PIECE_NUM_ROWS, columns=[name for name in names if name in present]):
            missing = [None] * batch.num_rows
            columns = (batch.column(name).to_pylist() if name in present else missing for name in names)
            yield from zip(*columns, strict=True)


def _write(path: Path, pieces: Iterable[list[dict[str, object]]], schema: pa.Schema) -> None:
    with write_atomically(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for records in pieces:
            writer.write_table(pa.Table.from_pylist(records, schema=schema))
