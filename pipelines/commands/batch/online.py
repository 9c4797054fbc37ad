"""Animates the rows of a batch on a running service.

Rows are sent as paths, so the service must share the file system, and in portions that fit its queue. A
rejected portion is bisected until the rejected row is found. A service that restarts is waited for. A rerun
skips rows that succeeded. If the earlier run was interrupted, the service recognises the rows that it already
has by their idempotency keys.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lia_model.serving.client import Client
from lia_model.serving.client.errors import NoServiceError, RefusedError
from lia_model.serving.messages import (
    BatchItem,
    BatchItemStatus,
    BatchRequest,
    JobStatus,
    ModelVersion,
    project_mark,
)
from pipelines.commands.batch.places import is_url, version_of
from pipelines.commands.batch.results import kept_results
from pipelines.commands.batch.rows import BatchRow, output_name
from pipelines.local.progress import progress

logger = logging.getLogger(__name__)

PORTION = 16
POLL_S = 0.5


def run_online(
    rows: Sequence[BatchRow],
    output: str,
    endpoint: str,
    token: str | None = None,
    project: Path | None = None,
    correlation_id: str | None = None,
) -> int:
    """Animate the rows and write `output`/results.csv.

    Args:
        rows: of the batch.
        output: folder of the service's machine for the videos and results.csv.
        endpoint: URL of the service.
        token: bearer token, if the service requires one.
        project: folder of the project whose service it has to be; None takes any.
        correlation_id: of the work that the rows are part of.

    Returns:
        0 if every row has its video, else 1.

    Raises:
        ValueError: results.csv is another program's; or the output is in an object store.
        NoServiceError: no service answers at the endpoint, it is another project's, or it refuses the token.
    """
    if is_url(output):
        raise ValueError(
            f"got the output {output} for the service at {endpoint}, which writes to folders alone: leave "
            "out --endpoint to animate without it, or give a folder"
        )
    with Client(endpoint, token, correlation_id=correlation_id) as client:
        if project is not None and client.project() not in (None, project_mark(project)):
            raise NoServiceError(
                f"got the service of another project at {endpoint}; rows go to that of {project}: start it "
                "with `lia serve` and its own LIA_SERVE_PORT, or name the other one with --endpoint"
            )
        return _run(client, rows, Path(output).resolve())


def _run(client: Client, rows: Sequence[BatchRow], output: Path) -> int:
    with kept_results(rows, str(output)) as results, progress("animating") as show:
        missing = results.missing()
        num_ended = 0

        def on_result(changed: Iterable[BatchRow], num_new: int) -> None:
            nonlocal num_ended
            results.update(changed)
            num_ended += num_new
            show(num_ended, len(missing))

        # Later requests wait for a service that is away, since it may be restarting.
        client.project()
        for start in range(0, len(missing), PORTION):
            _animate(client, missing[start : start + PORTION], output, on_result)
    return results.exit_code()


def _animate(
    client: Client,
    rows: Sequence[BatchRow],
    output: Path,
    on_result: Callable[[Iterable[BatchRow], int], None],
) -> None:
    """Animate `rows` and call `on_result` with those that have ended, and how many of them are new."""
    try:
        batch = _submit(client, rows, output)
    except RefusedError as error:
        if error.status != 422:
            raise NoServiceError(
                f"got a refusal from the service ({error}): check the endpoint and LIA_API_TOKEN"
            ) from None
        if len(rows) == 1:
            on_result([replace(rows[0], status="failed", error=str(error))], 1)
            return
        half = len(rows) // 2
        _animate(client, rows[:half], output, on_result)
        _animate(client, rows[half:], output, on_result)
        return
    num_ended = 0
    while num_ended < len(rows):
        items = client.batch_status(batch).items
        ended = [_result(row, item) for row, item in zip(rows, items, strict=True) if item.status.is_final]
        if len(ended) > num_ended:
            on_result(ended, len(ended) - num_ended)
            num_ended = len(ended)
        else:
            time.sleep(POLL_S)


def _submit(client: Client, rows: Sequence[BatchRow], output: Path) -> str:
    """Submit the rows, waiting while the queue is full, and return the id of their batch."""
    models = client.models().models
    items = [
        BatchItem(
            source=row.source,
            driving=row.driving,
            name=output_name(row),
            idempotency_key=_idempotency_key(row, output, models),
            model=row.model or None,
            priority=row.priority,
            **row.options.model_dump(),
        )
        for row in rows
    ]
    return client.submit_batch(BatchRequest(items=items, output=str(output))).id


def _idempotency_key(row: BatchRow, output: Path, models: Sequence[ModelVersion]) -> str:
    """Return what is the same only for the same animation of the same files by the same model."""
    versions = [version_of(path) for path in (row.source, row.driving)]
    served = [{"name": model.name, "version": model.version} for model in models]
    return hashlib.sha256(repr((row.key, str(output), versions, served)).encode()).hexdigest()


def _result(row: BatchRow, item: BatchItemStatus) -> BatchRow:
    error = "" if item.error is None else f"{item.error.code}: {item.error.message}"
    is_done = item.status is JobStatus.SUCCEEDED
    for warning in item.warnings:
        logger.warning("%s by %s: %s", Path(row.source).name, Path(row.driving).name, warning)
    return replace(
        row,
        status=str(item.status),
        output=item.output if is_done else "",
        frames=item.frames_done if is_done else 0,
        error=error,
    )
