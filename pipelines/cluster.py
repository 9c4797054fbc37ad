"""The door to a Ray cluster: the project's head, another one by address, or a private one for one run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from pipelines.environment import Environment

logger = logging.getLogger(__name__)

# Logical CPUs: on two cores a Serve replica's share would otherwise starve a fit of two workers for ever.
MIN_LOGICAL_CPUS = 4


@contextmanager
def connected(environment: Environment) -> Iterator[None]:
    """Connect this process to Ray; a cluster started for it alone ends with it."""
    if environment.ray_address is not None:
        logger.info("using the Ray cluster at %s", environment.ray_address)
        ray.init(address=environment.ray_address, log_to_driver=False, logging_level=logging.WARNING)
    else:
        environment.ray_home.mkdir(parents=True, exist_ok=True)
        ray.init(
            num_cpus=max(MIN_LOGICAL_CPUS, os.cpu_count() or 1),
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
