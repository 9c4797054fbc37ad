"""Animates the rows of a batch without a service, on Ray Data.

Each row is a block of its own, so that a result arrives as soon as it is made, and a process that dies takes
no other row with it. One process a GPU, or one for `serve.num_threads` cores, loads the model once.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from lia_model.animation.options import AnimationOptions
from lia_model.checkpoints.crop_record import read_crop
from lia_model.registry.models import resolve
from lia_model.registry.tracking_variables import passed_on
from pipelines.commands.batch.places import is_url
from pipelines.commands.batch.results import kept_results
from pipelines.commands.batch.row_animator import RowAnimator, RowOutcome, RowSettings
from pipelines.commands.batch.rows import BatchRow
from pipelines.environment import Environment
from pipelines.forgotten_sources import warn_of_forgotten
from pipelines.local.progress import progress
from pipelines.params import Params
from preprocessing.clips.crop import shows_faces
from preprocessing.faces.detector import require_models
from preprocessing.storage.lease import held_lease

logger = logging.getLogger(__name__)

NUM_RETRIES = 2
"""How often a row is tried again whose process, or machine, died with it."""
_NO_TIME_LIMIT = -1


class OfflineBatchError(Exception):
    """Ray cannot animate the batch."""


def run_offline(
    rows: Sequence[BatchRow],
    output: str,
    params: Params,
    environment: Environment,
    model: str,
    cluster: AbstractContextManager[None],
) -> int:
    """Animate the rows and write `output`/results.csv; rows whose videos are there are left as they are.

    Args:
        rows: of the batch.
        output: folder or URL for the videos and results.csv.
        params: of the project.
        environment: of the project.
        model: checkpoint directory or model URI; an alias is resolved once, for all rows.
        cluster: connects this process to Ray inside.

    Returns:
        0 if every row has its video, else 1.

    Raises:
        ValueError: the model or the detector is missing, or another batch writes to the output.
        StoreError: the object store cannot be read or written.
        OfflineBatchError: Ray ended the work.
    """
    output = output if is_url(output) else str(Path(output).resolve())
    found = resolve(model)
    warn_of_forgotten(found, environment.paths.tombstones)
    if shows_faces(read_crop(found.directory).rule):
        require_models(environment.paths.root / params.serve.detector)
    settings = RowSettings(params, environment.paths.root, found, output)
    mark = hashlib.sha256(output.encode()).hexdigest()[:16]
    with (
        held_lease(environment.paths.runs / "batches" / f"{mark}.json", f"the batch in {output}"),
        kept_results(rows, output) as results,
        progress("animating") as show,
    ):
        missing = results.missing()
        if missing:
            _remove_unfinished(output)
            logger.info("animating with %s, without a service", found.uri)
            with cluster:
                for num_ended, outcome in enumerate(_animate(missing, settings, environment), start=1):
                    row = outcome.row
                    for warning in outcome.warnings:
                        logger.warning("%s by %s: %s", Path(row.source).name, Path(row.driving).name, warning)
                    results.update([row])
                    show(num_ended, len(missing))
    return results.exit_code()


class _RowActor:
    """A `RowAnimator` in a process of Ray Data; rows and outcomes are dictionaries of plain values."""

    def __init__(self, settings: RowSettings, registry: dict[str, str]) -> None:
        """Load the model; `registry` are MLflow's variables."""
        os.environ.update(registry)
        self._animator = RowAnimator(settings)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        options = AnimationOptions.model_validate_json(item["options"])
        outcome = self._animator.animate(BatchRow(item["source"], item["driving"], options))
        row = outcome.row
        return {
            "number": item["number"],
            "result": json.dumps(
                {"status": row.status, "output": row.output, "frames": row.frames, "error": row.error}
            ),
            "warnings": json.dumps(outcome.warnings),
        }


def _animate(
    rows: Sequence[BatchRow], settings: RowSettings, environment: Environment
) -> Iterator[RowOutcome]:
    """Yield the outcome of each row as it ends."""
    items = [
        {
            "number": number,
            "source": row.source,
            "driving": row.driving,
            "options": row.options.model_dump_json(),
        }
        for number, row in enumerate(rows)
    ]
    waiting = dict(enumerate(rows))
    try:
        for result in _dataset(items, settings, environment).iter_rows():
            row = waiting.pop(result["number"])
            done = replace(row, **json.loads(result["result"]))
            yield RowOutcome(done, tuple(json.loads(result["warnings"])))
    except RayError as error:
        reason = " ".join(str(error).split())[-500:]
        raise OfflineBatchError(f"Ray ended the batch ({reason}): run it again to go on") from error
    for row in waiting.values():
        error = f"process_died: its process died, and so did {NUM_RETRIES} more; see Ray's log"
        yield RowOutcome(replace(row, status="failed", error=error))


def _dataset(
    items: list[dict[str, Any]], settings: RowSettings, environment: Environment
) -> ray.data.Dataset:
    # It tells of every execution, and of a lost row by its stack traces; other failures are raised.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = _NO_TIME_LIMIT
    # The block of a row whose process died.
    context.max_errored_blocks = _NO_TIME_LIMIT
    with DataContext.current(context):
        dataset = ray.data.from_items(items, override_num_blocks=len(items))
    num_gpus, num_cpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
    if sum(node["Alive"] for node in ray.nodes()) == 1:
        # Ray may have been told of more cores than the machine has.
        num_cpus = min(num_cpus, os.cpu_count() or 1)
    num_threads = settings.params.serve.replica_threads()
    num_processes = num_gpus or max(1, num_cpus // num_threads)
    with warnings.catch_warnings():
        # Deprecated, but the only way to bound the retries, which are endless by default.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return dataset.map(
            _RowActor,  # pyright: ignore[reportArgumentType] - Ray makes it in each process
            fn_constructor_args=(settings, passed_on(environment.mlflow_tracking_uri, os.environ)),
            compute=ActorPoolStrategy(size=min(num_processes, len(items)), max_tasks_in_flight_per_actor=1),
            num_cpus=num_threads,
            num_gpus=1 if num_gpus else None,
            max_task_retries=NUM_RETRIES,
        )


def _remove_unfinished(output: str) -> None:
    """Remove what killed processes left; nobody else writes to the output while its lease is held."""
    if not is_url(output):
        for path in Path(output).glob(".*.partial.mp4"):
            path.unlink()
