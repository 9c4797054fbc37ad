"""`lia batch`: the rows of a CSV file, animated by a running service, each with a status in results.csv.

Rows travel as paths, so the service must see the same disk. They are sent in portions that fit its queue; a
portion it refuses is halved until the refusal stands against one row. Run again, what has succeeded is left
alone.
"""

import csv
import hashlib
import json
import logging
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

logger = logging.getLogger(__name__)

MODES = ("relative", "absolute")
COLUMNS = ("source", "driving", "mode", "status", "output", "frames", "error")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTION = 16
POLL_S = 0.5
TIMEOUT_S = 60


class NoServiceError(Exception):
    """Nothing that speaks our interface answers at the endpoint."""


class RefusedError(Exception):
    """The service refused a request."""

    def __init__(self, status: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Row:
    """One line of the manifest and what became of it."""

    source: str
    driving: str
    mode: str
    status: str = "missing"
    output: str = ""
    frames: int = 0
    error: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What is asked for; equal rows are one animation."""
        return self.source, self.driving, self.mode

    @property
    def is_done(self) -> bool:
        """Whether the row has its video."""
        return self.status == "succeeded" and Path(self.output).is_file()


class Client:
    """Speaks JSON with the service at `endpoint`."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        is_local = urllib.parse.urlsplit(endpoint).hostname in LOOPBACK
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the answer.

        Raises:
            RefusedError: the answer is an error.
            NoServiceError: there is none.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(self._endpoint + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (OSError, ValueError) as error:
            raise NoServiceError(
                f"no animation service answers at {self._endpoint} ({error}): start one with `lia serve`, "
                "or name another with --endpoint"
            ) from None


def run_batch(manifest: Path, output: Path, endpoint: str, token: str | None = None) -> int:
    """Animate every row of `manifest` and write `output`/results.csv.

    Args:
        manifest: CSV file with the columns source, driving and, optionally, mode; paths start at its folder.
        output: folder for the videos and results.csv.
        endpoint: URL of the service.
        token: its bearer token, if it asks for one.

    Returns:
        0 if every row has its video, else 1.

    Raises:
        ValueError: the manifest is not such a file; all its bad lines are named.
        NoServiceError: nothing answers at the endpoint.
    """
    rows = read_manifest(manifest)
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    results = output / "results.csv"
    state = {row.key: row for row in rows}
    state |= {row.key: row for row in _read_results(results) if row.key in state and row.is_done}
    missing = [row for row in state.values() if not row.is_done]
    logger.info("%d rows, %d of them to do", len(rows), len(missing))

    def note(changed: Iterable[Row]) -> None:
        state.update({row.key: row for row in changed})
        _write_results(results, [state[row.key] for row in rows])

    note([])
    with typer.progressbar(length=len(missing), label="animating") as bar:
        for start in range(0, len(missing), PORTION):
            portion = missing[start : start + PORTION]
            _animate(Client(endpoint, token), portion, output, note, bar.update)
    num_failed = sum(not state[row.key].is_done for row in rows)
    if num_failed:
        logger.warning("%d of %d rows have no video; %s says why", num_failed, len(rows), results)
    return 1 if num_failed else 0


def read_manifest(path: Path) -> list[Row]:
    """Return the rows, paths made absolute.

    Raises:
        ValueError: missing file or column, or bad lines, all named at once with their numbers.
    """
    if not path.is_file():
        raise ValueError(
            f"got manifest {path}, but there is no such file; give a CSV with columns source,driving"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if missing := [name for name in ("source", "driving") if name not in columns]:
            raise ValueError(
                f"{path} has no column {' and no column '.join(missing)}; its first line must be "
                "source,driving or source,driving,mode"
            )
        lines = [(reader.line_num, line) for line in reader]
    bad = [
        f"line {number}: {reason}" for number, line in lines if (reason := _what_is_wrong(line)) is not None
    ]
    if bad:
        raise ValueError(f"{path} has {len(bad)} bad lines: {'; '.join(bad)}")
    if not lines:
        raise ValueError(f"{path} has no rows below its first line; add one for each animation")
    folder = path.resolve().parent
    return [
        Row(str(folder / line["source"]), str(folder / line["driving"]), line.get("mode") or "relative")
        for _, line in lines
    ]


def output_name(row: Row) -> str:
    """Return the video's file name without `.mp4`: both files' names, and a hash of all that is asked for."""
    mark = hashlib.sha256("\0".join(row.key).encode()).hexdigest()[:8]
    names = (re.sub(r"[^A-Za-z0-9-]+", "_", Path(path).stem)[:60] for path in (row.source, row.driving))
    return "_by_".join(name or "unnamed" for name in names).lstrip("-") + f"_{mark}"


def _what_is_wrong(line: dict[str, str | None]) -> str | None:
    if None in line:
        return "it has more fields than the first line"
    for name in ("source", "driving"):
        if not line[name]:
            return f"{name} is empty; give a path"
    mode = line.get("mode")
    if mode and mode not in MODES:
        return f"mode is {mode!r}; it is relative or absolute"
    return None


def _animate(
    client: Client,
    rows: Sequence[Row],
    output: Path,
    note: Callable[[Iterable[Row]], None],
    advance: Callable[[int], None],
) -> None:
    """Have `rows` animated, noting each that has ended."""
    try:
        batch = _submit(client, rows, output)
    except RefusedError as error:
        if error.status != 422:
            raise NoServiceError(
                f"the service refused the batch ({error}): check the endpoint and LIA_API_TOKEN"
            ) from None
        if len(rows) == 1:
            note([replace(rows[0], status="failed", error=str(error))])
            advance(1)
            return
        half = len(rows) // 2
        _animate(client, rows[:half], output, note, advance)
        _animate(client, rows[half:], output, note, advance)
        return
    num_ended = 0
    while num_ended < len(rows):
        items = client.ask("GET", batch)["items"]
        ended = [
            _result(row, item)
            for row, item in zip(rows, items, strict=True)
            if item["status"] not in ("queued", "running")
        ]
        if len(ended) > num_ended:
            note(ended)
            advance(len(ended) - num_ended)
            num_ended = len(ended)
        else:
            time.sleep(POLL_S)


def _submit(client: Client, rows: Sequence[Row], output: Path) -> str:
    """Queue the rows, waiting while the queue is full, and return the path of the batch's status."""
    items = [
        {"source": row.source, "driving": row.driving, "mode": row.mode, "name": output_name(row)}
        for row in rows
    ]
    while True:
        try:
            answer = client.ask("POST", "/v1/batches", {"items": items, "output": str(output)})
            return answer["links"]["self"]
        except RefusedError as error:
            if error.retry_after_s is None:
                raise
            time.sleep(error.retry_after_s)


def _result(row: Row, item: dict[str, Any]) -> Row:
    error = "" if item["error"] is None else f"{item['error']['code']}: {item['error']['message']}"
    is_done = item["status"] == "succeeded"
    return replace(
        row,
        status=item["status"],
        output=item["output"] if is_done else "",
        frames=item["frames_done"] if is_done else 0,
        error=error,
    )


def _refusal(error: urllib.error.HTTPError) -> RefusedError:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {error.code} {error.reason}"
    retry_after = error.headers.get("Retry-After", "")
    return RefusedError(error.code, message, float(retry_after) if retry_after.isdecimal() else None)


def _read_results(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path} was not written by lia batch: remove it, or give another output folder")
        return [Row(**{**line, "frames": int(line["frames"])}) for line in reader]


def _write_results(path: Path, rows: Iterable[Row]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
    partial.replace(path)
