"""The door to a Ray cluster: the project's head, another one by address, or a private one for one run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray

from pipelines.environment import Environment
from pipelines.local.logical_cpus import num_logical_cpus
from preprocessing.clips.source_run import Result, SourceTask, process_source
from preprocessing.clips.units import Unit, process_unit
from preprocessing.sandbox.child_server import ChildServer

logger = logging.getLogger(__name__)

MAX_UNIT_RETRIES = 3
"""How often a unit whose machine or process is lost is begun again; what it had finished is found again."""


@contextmanager
def connected(environment: Environment) -> Iterator[None]:
    """Connect this process to Ray; a cluster started for it alone ends with it."""
    if environment.ray_address is not None:
        logger.info("using the Ray cluster at %s", environment.ray_address)
        ray.init(address=environment.ray_address, log_to_driver=False, logging_level=logging.WARNING)
    else:
        environment.ray_home.mkdir(parents=True, exist_ok=True)
        ray.init(
            num_cpus=num_logical_cpus(),
            dashboard_host=environment.host,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(environment.ray_home),
            _node_ip_address=environment.host,
        )
    try:
        yield
    finally:
        ray.shutdown()


def process_on_cluster(
    units: Sequence[Unit], num_parallel: int, tell: Callable[[Result], None]
) -> list[Result]:
    """Process units as Ray tasks, at most `num_parallel` at once; `tell` gets the results as units end.

    Every machine of the cluster must see the models under the same path, and the jobs' folders too, unless
    there is a store through which they exchange them.

    Raises:
        DiskError: nothing can be written any more.
        StoreError: there is a store, and it cannot be read or written.
    """
    waiting = [[task.model_dump_json() for task in unit] for unit in units][::-1]
    running: list[ray.ObjectRef] = []
    results: list[Result] = []
    try:
        while waiting or running:
            while waiting and len(running) < num_parallel:
                running.append(_process_unit.remote(waiting.pop()))
            (done, *_), running = ray.wait(running)
            for text in ray.get(done):
                results.append(Result.model_validate_json(text))
                tell(results[-1])
    finally:
        for task in running:
            ray.cancel(task, force=True)
    return results


@ray.remote(num_cpus=1, max_retries=MAX_UNIT_RETRIES)
def _process_unit(jobs: list[str]) -> list[str]:
    with ChildServer(process_source.__module__) as worker:
        unit = [SourceTask.model_validate_json(task) for task in jobs]
        return [result.model_dump_json() for result in process_unit(unit, worker)]
