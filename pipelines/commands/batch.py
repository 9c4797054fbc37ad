"""`lia batch`: animates the rows of a CSV file on a running service and writes their status to results.csv.

Rows are sent as paths, so the service must share the file system, and in portions that fit its queue. A
rejected portion is bisected until the rejected row is found. A rerun skips rows that succeeded.
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
from typing import Any, get_args

import typer

from lia_model.settings import Mode
from preprocessing.storage.files import write_atomically

logger = logging.getLogger(__name__)

MODES = get_args(Mode)
COLUMNS = ("source", "driving", "mode", "status", "output", "frames", "error")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTION = 16
POLL_S = 0.5
TIMEOUT_S = 60


class NoServiceError(Exception):
    """No animation service answers at the endpoint, or it refuses every request."""


class RefusedError(Exception):
    """The service answered a request with an error."""

    def __init__(self, status: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class BatchRow:
    """One line of the CSV file and its result."""

    source: str
    driving: str
    mode: str
    status: str = "missing"
    output: str = ""
    frames: int = 0
    error: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Return the requested animation; rows with equal keys share one result."""
        return self.source, self.driving, self.mode

    @property
    def is_done(self) -> bool:
        """Return whether the row succeeded and its video still exists."""
        return self.status == "succeeded" and Path(self.output).is_file()


class Client:
    """A JSON client of the service at `endpoint`."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        is_local = urllib.parse.urlsplit(endpoint).hostname in LOOPBACK
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the JSON of the answer.

        Raises:
            RefusedError: the service answers with an HTTP error.
            NoServiceError: no service answers, or not with JSON.
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
                f"got no answer from an animation service at {self._endpoint} ({error}): start one with "
                "`lia serve`, or give another URL with --endpoint"
            ) from None


def run_batch(manifest: Path, output: Path, endpoint: str, token: str | None = None) -> int:
    """Animate every row of `manifest` and write `output`/results.csv.

    Args:
        manifest: CSV file with columns source, driving and optionally mode; paths are relative to its folder.
        output: folder for the videos and results.csv.
        endpoint: URL of the service.
        token: bearer token, if the service requires one.

    Returns:
        0 if every row has its video, else 1.

    Raises:
        ValueError: the manifest is missing or invalid; the message names every bad line.
        NoServiceError: no service answers at the endpoint, or it refuses the token.
    """
    rows = read_batch(manifest)
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    results = output / "results.csv"
    state = {row.key: row for row in rows}
    state |= {row.key: row for row in _read_results(results) if row.key in state and row.is_done}
    missing = [row for row in state.values() if not row.is_done]
    logger.info("%d rows, %d to animate", len(rows), len(missing))

    def on_result(changed: Iterable[BatchRow]) -> None:
        state.update({row.key: row for row in changed})
        _write_results(results, [state[row.key] for row in rows])

    on_result([])
    with typer.progressbar(length=len(missing), label="animating") as bar:
        for start in range(0, len(missing), PORTION):
            portion = missing[start : start + PORTION]
            _animate(Client(endpoint, token), portion, output, on_result, bar.update)
    num_failed = sum(not state[row.key].is_done for row in rows)
    if num_failed:
        logger.warning("%d of %d rows have no video: see the errors in %s", num_failed, len(rows), results)
    return 1 if num_failed else 0


def read_batch(path: Path) -> list[BatchRow]:
    """Read the CSV file and make its paths absolute.

    Raises:
        ValueError: the file or a column is missing, or lines are bad; all are listed by number.
    """
    if not path.is_file():
        raise ValueError(
            f"got manifest {path}, which does not exist: give a CSV file with columns source,driving"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if missing := [name for name in ("source", "driving") if name not in columns]:
            raise ValueError(
                f"got {path} with no column {' and no column '.join(missing)}: make the first line "
                "source,driving or source,driving,mode"
            )
        lines = [(reader.line_num, line) for line in reader]
    bad = [
        f"line {number}: {reason}" for number, line in lines if (reason := _what_is_wrong(line)) is not None
    ]
    if bad:
        raise ValueError(f"got {path} with {len(bad)} bad lines: {'; '.join(bad)}")
    if not lines:
        raise ValueError(f"got {path} with no rows below the header: add one per animation")
    folder = path.resolve().parent
    return [
        BatchRow(str(folder / line["source"]), str(folder / line["driving"]), line.get("mode") or "relative")
        for _, line in lines
    ]


def output_name(row: BatchRow) -> str:
    """Return the video's file name without `.mp4`: the names of both files and a hash of the row's key."""
    mark = hashlib.sha256("\0".join(row.key).encode()).hexdigest()[:8]
    names = (re.sub(r"[^A-Za-z0-9-]+", "_", Path(path).stem)[:60] for path in (row.source, row.driving))
    return "_by_".join(name or "unnamed" for name in names).lstrip("-") + f"_{mark}"


def _what_is_wrong(line: dict[str, str | None]) -> str | None:
    if None in line:
        return "more fields than the header"
    for name in ("source", "driving"):
        if not line[name]:
            return f"{name} is empty: give a path"
    mode = line.get("mode")
    if mode and mode not in MODES:
        return f"got mode {mode!r}; allowed are {' and '.join(MODES)}"
    return None


def _animate(
    client: Client,
    rows: Sequence[BatchRow],
    output: Path,
    on_result: Callable[[Iterable[BatchRow]], None],
    advance: Callable[[int], None],
) -> None:
    """Animate `rows` and call `on_result` with those that end."""
    try:
        batch = _submit(client, rows, output)
    except RefusedError as error:
        if error.status != 422:
            raise NoServiceError(
                f"got a refusal from the service ({error}): check the endpoint and LIA_API_TOKEN"
            ) from None
        if len(rows) == 1:
            on_result([replace(rows[0], status="failed", error=str(error))])
            advance(1)
            return
        half = len(rows) // 2
        _animate(client, rows[:half], output, on_result, advance)
        _animate(client, rows[half:], output, on_result, advance)
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
            on_result(ended)
            advance(len(ended) - num_ended)
            num_ended = len(ended)
        else:
            time.sleep(POLL_S)


def _submit(client: Client, rows: Sequence[BatchRow], output: Path) -> str:
    """Submit the rows, retrying while the queue is full, and return the URL path of the batch's status."""
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


def _result(row: BatchRow, item: dict[str, Any]) -> BatchRow:
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


def _read_results(path: Path) -> list[BatchRow]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"got {path}, which was not written by lia batch: remove it, or give another output folder"
            )
        return [BatchRow(**{**line, "frames": int(line["frames"])}) for line in reader]


def _write_results(path: Path, rows: Iterable[BatchRow]) -> None:
    with write_atomically(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
