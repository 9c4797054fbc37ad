"""`lia ledger`: shows the ledger's tables, as rows that fulfil conditions or as counts of outcomes."""

import difflib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.local.reports import Row
from pipelines.project_paths import ProjectPaths
from preprocessing.ledger import ClipRow, count_failures
from preprocessing.outcome import DownloadStatus

logger = logging.getLogger(__name__)

TableName = Literal["clips", "sources"]
Counts = dict[TableName, list[tuple[str, str, int]]]
"""Outcome, reason and number of rows, by table."""
DEFAULT_COLUMNS: dict[TableName, tuple[str, ...]] = {
    "clips": ("outcome", "reason", "split", "identity", "num_frames", "start_s", "url", "error"),
    "sources": ("status", "source_id", "split", "identity", "duration_s", "url", "error"),
}
"""Columns shown as lines unless others are asked for; JSON holds all."""
_WRITERS: dict[TableName, str] = {"clips": "shards", "sources": "download"}
"""The stage that writes each table."""
_WORDS = {
    "status": tuple(status.value for status in DownloadStatus),
    "outcome": ("kept", "filtered", "failed"),
}
"""The values of columns that hold few words."""
_CONDITION = re.compile(r"\s*(?P<column>\w+)\s*(?P<operator>!=|=|<|>)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """Which part of a table is shown."""

    table: TableName
    where: Sequence[str] = ()
    """Conditions such as `outcome=kept`, all of which a row fulfils; an empty value means no value."""
    columns: Sequence[str] | None = None
    """None: those of `DEFAULT_COLUMNS`, or all in JSON."""
    limit: int = 0
    """Most rows; 0 for all."""


@dataclass(frozen=True)
class Rows:
    """The selected part of a table."""

    columns: Sequence[str]
    records: list[dict[str, Any]]
    num_found: int
    """How many rows fulfil the conditions, shown or not."""


def table_path(paths: ProjectPaths, table: TableName) -> Path:
    """Return the file of a table.

    Raises:
        ValueError: the stage that writes it has not run.
    """
    path = paths.ledger / f"{table}.parquet"
    if not path.is_file():
        stage = _WRITERS[table]
        raise ValueError(f"got no ledger at {path}; the stage {stage} writes it; run `lia {stage}`")
    return path


def select_rows(paths: ProjectPaths, selection: Selection, all_columns: bool = False) -> Rows:
    """Read the selected rows, in the table's order.

    Args:
        paths: of the project.
        selection: what is wanted.
        all_columns: read all columns unless some are named.

    Raises:
        ValueError: the table is missing or damaged, a column is unknown, or a condition is wrong.
    """
    path = table_path(paths, selection.table)
    schema = _schema(path)
    defaults = schema.names if all_columns else DEFAULT_COLUMNS[selection.table]
    columns = selection.columns or defaults
    for column in columns:
        _check_column(column, schema)
    conditions = [_condition(text, schema) for text in selection.where]
    filters = None
    for condition in conditions:
        filters = condition if filters is None else filters & condition
    found = pq.read_table(path, columns=list(columns), filters=filters)
    shown = found.slice(0, selection.limit) if selection.limit else found
    return Rows(columns, shown.to_pylist(), found.num_rows)


def row_lines(rows: Rows) -> list[Row]:
    """Return a row of column names and one for each record, as text."""
    return [
        tuple(rows.columns),
        *(tuple(_text(record[name]) for name in rows.columns) for record in rows.records),
    ]


def count_outcomes(paths: ProjectPaths, table: TableName) -> list[tuple[str, str, int]]:
    """Return outcome, reason and number of rows, sorted by outcome and then by falling number.

    The reason of a failed clip is its error.

    Raises:
        ValueError: the table is missing or damaged.
    """
    path = table_path(paths, table)
    _schema(path)
    if table == "sources":
        columns, failures = ["status"], []
    else:
        columns = ["outcome", "reason"]
        failed = pq.read_table(path, filters=pc.field("outcome") == "failed").to_pylist()
        failures = count_failures(ClipRow(**record) for record in failed)
    grouped = (
        pq.read_table(path, columns=columns).group_by(columns).aggregate([([], "count_all")]).to_pylist()
    )
    counts = [
        (one[columns[0]], one.get("reason") or "", one["count_all"])
        for one in grouped
        if not failures or one[columns[0]] != "failed"
    ]
    counts += [("failed", f"{one.error} ({one.prospect})", one.num_rows) for one in failures]
    return sorted(counts, key=lambda count: (count[0], -count[2], count[1]))


def count_all(paths: ProjectPaths) -> Counts:
    """Return the counts of both tables; without clips, those of the sources alone, with a warning.

    Raises:
        ValueError: there is no table of sources, or a table is damaged.
    """
    counts: Counts = {"sources": count_outcomes(paths, "sources")}
    try:
        table_path(paths, "clips")
    except ValueError as error:
        logger.warning("%s", error)
        return counts
    counts["clips"] = count_outcomes(paths, "clips")
    return counts


def outcome_document(counts: Counts) -> dict[TableName, list[dict[str, str | int]]]:
    """Return what `--json` prints of the counts."""
    return {
        table: [
            {"outcome": outcome, "reason": reason, "num_rows": number} for outcome, reason, number in found
        ]
        for table, found in counts.items()
    }


def outcome_lines(counts: Counts) -> list[Row]:
    """Return a row of titles and one for each count of each table."""
    rows = [
        (table, outcome, str(number), _text(reason))
        for table, found in counts.items()
        for outcome, reason, number in found
    ]
    return [("table", "outcome", "rows", "reason"), *rows]


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except pa.ArrowInvalid as error:
        stage = _WRITERS["clips" if path.stem == "clips" else "sources"]
        raise ValueError(f"got {path}, which is no Parquet file ({error}); run `lia {stage}` again") from None


def _check_column(column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        nearest = difflib.get_close_matches(column, schema.names, n=3, cutoff=0.5)
        known = f"did you mean {' or '.join(nearest)}?" if nearest else f"known are {', '.join(schema.names)}"
        raise ValueError(f"got column {column!r}, which the table does not have; {known}")


def _condition(text: str, schema: pa.Schema) -> pc.Expression:
    """Turn `COLUMN=VALUE` into an expression; `!=` is true wherever `=` is not, even without a value."""
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise ValueError(
            f"got --where {text!r}; COLUMN=VALUE, COLUMN!=VALUE, COLUMN<VALUE or COLUMN>VALUE is needed; "
            "quote it in the shell"
        )
    column, operator, value = parts["column"], parts["operator"], parts["value"].strip()
    _check_column(column, schema)
    field, kind = pc.field(column), schema.field(column).type
    if not value and operator in ("=", "!="):
        return field.is_null() if operator == "=" else field.is_valid()
    wanted = _value(text, column, operator, value, kind)
    match operator:
        case "=":
            return field == wanted
        case "!=":
            return (field != wanted) | field.is_null()
        case "<":
            return field < wanted
        case _:
            return field > wanted


def _value(text: str, column: str, operator: str, value: str, kind: pa.DataType) -> pa.Scalar:
    """Read a condition's value as the column's type.

    Raises:
        ValueError: the column's type does not hold such a value or is not ordered.
    """
    read, allowed = _reader(kind)
    is_equality = operator in ("=", "!=")
    if read is None or (kind == pa.bool_() and not is_equality):
        raise ValueError(f"got --where {text!r}; {column} takes {allowed}; change the condition")
    if is_equality and column in _WORDS and value not in _WORDS[column]:
        raise ValueError(f"got --where {text!r}; {column} is one of {', '.join(_WORDS[column])}; choose one")
    try:
        return pa.scalar(read(value), kind)
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"got --where {text!r}; {column} takes {allowed}; change the value") from None


def _reader(kind: pa.DataType) -> tuple[Callable[[str], object] | None, str]:
    """Return what reads a value of a type, and what is allowed there in words."""
    if pa.types.is_integer(kind):
        return int, "a whole number"
    if pa.types.is_floating(kind):
        return float, "a number"
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}.__getitem__, "= or != with true or false"
    if pa.types.is_string(kind):
        return str, "text"
    return None, "= or != without a value, for rows without or with one"


def _text(value: object) -> str:
    """Return a cell's text: one line, without the control characters that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else " " for character in text)
