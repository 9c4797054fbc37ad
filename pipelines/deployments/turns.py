"""Lets one deployment at a time change a project's data, by a concurrency limit of the Prefect server."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

LEASE_S = 60.0
"""A run that died keeps the others waiting for this long."""


def limit_name(root: Path) -> str:
    """Return the name of the limit for the project at `root`; a server may serve several projects."""
    return f"lia-data-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Wait until no other run works on the project's data, and keep others out during the block.

    The limit is created first: without one Prefect would let every run through.
    """
    name = limit_name(root)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    with concurrency(name, lease_duration=LEASE_S, strict=True):
        yield
