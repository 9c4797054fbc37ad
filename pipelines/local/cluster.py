"""Connections to a Ray cluster: the project's head, another one by address, or a private one for one run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayTaskError

from pipelines.local.logical_cpus import num_logical_cpus
from preprocessing.clips.recordings.signature_file import SignatureFile
from preprocessing.clips.sample import KeptClip
from preprocessing.clips.source_run import SourceTask, process_source
from preprocessing.clips.stored_result import SourceSummary
from preprocessing.clips.units import Unit, process_unit
from preprocessing.clips.units_apart import process_unit_apart
from preprocessing.correlation import CORRELATION_VARIABLE
from preprocessing.sandbox.child_server import ChildServer
from preprocessing.shards.composing import compose_tar
from preprocessing.shards.manifest import TarEntry
from preprocessing.storage.object_store import Store

logger = logging.getLogger(__name__)

MAX_UNIT_RETRIES = 3
"""How often a task is retried after its machine or process is lost; sources it finished are reused."""
_CONNECT_TIMEOUT_S = 10
_STDERR = 2


class ClusterError(ConnectionError):
    """A Ray cluster does not answer, or refuses this process."""


@contextmanager
def connected(
    address: str | None, home: Path, host: str, correlation_id: str | None = None
) -> Iterator[None]:
    """Connect this process to Ray, at `address` or, if it is None, to a private cluster that ends with it.

    While it is connected, SIGTERM interrupts the process as Ctrl-C does.

    Args:
        address: of a running cluster.
        home: Ray's temporary folder, for a private cluster.
        host: address that a private cluster binds.
        correlation_id: see `joined`; a private cluster takes over this process's variables.
    """
    cluster = _private_cluster(home, host) if address is None else joined(address, correlation_id)
    with cluster, _interrupted_by_sigterm():
        yield


@contextmanager
def joined(address: str, correlation_id: str | None = None) -> Iterator[None]:
    """Connect this process to the running Ray cluster at `address`.

    Tasks and actors get `correlation_id` as a variable, which Ray's pages show with each job; None is for a
    process that is a job of Ray itself, whose variables they have.

    Raises:
        ClusterError: it does not answer, or refuses this process.
    """
    _require_answer(address)
    logger.info("using the Ray cluster at %s", address)
    variables = {} if correlation_id is None else {CORRELATION_VARIABLE: correlation_id}
    with _stderr_held_back():
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": variables} if variables else None,
            )
        except ConnectionError as error:
            # What Ray also raises for a wrong token.
            raise ClusterError(
                f"the Ray cluster at {address} answers but cannot be joined ({error}): set RAY_AUTH_TOKEN, "
                "or RAY_AUTH_TOKEN_PATH, to the cluster's token, and see its logs"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Write what comes to stderr at the end, and nothing at a ClusterError, which tells it in one line.

    Ray's native code writes a warning a second there when it is refused, past every setting of Ray's.
    """
    is_told = False
    sys.stderr.flush()
    terminal = os.dup(_STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        except ClusterError:
            is_told = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            held.seek(0)
            if not is_told:
                os.write(_STDERR, held.read())


def require_cluster(address: str) -> None:
    """Connect to a Ray cluster once, before work begins that would end in vain.

    Raises:
        ClusterError: it does not answer, or refuses this process.
    """
    with joined(address):
        pass


def _require_answer(address: str) -> None:
    """Open a connection to HOST:PORT or ray://HOST:PORT; Ray itself would wait for up to minutes.

    Raises:
        ClusterError: nothing answers there.
    """
    place = address.removeprefix("ray://")
    host, port = urlsplit(f"//{place}").hostname, place.rpartition(":")[2]
    if "://" in place or host is None or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ClusterError(
            f"the Ray cluster at {address} does not answer ({reason}): see that it runs, or correct "
            "LIA_RAY_ADDRESS, and run the command again"
        ) from None


@contextmanager
def _private_cluster(home: Path, host: str) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    ray.init(
        # Without it Ray joins the last cluster noted in its home, which in a copied project is another one's.
        address="local",
        num_cpus=num_logical_cpus(),
        dashboard_host=host,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=str(home),
        _node_ip_address=host,
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM; Ray's own handler aborts with a stack trace."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set signal handlers, and only it receives signals.
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        # None stands for Ray's handler.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def process_on_cluster(
    units: Sequence[Unit],
    num_parallel: int,
    on_result: Callable[[SourceSummary], None],
    *,
    is_apart: bool = False,
) -> list[SourceSummary]:
    """Process units as Ray tasks, at most `num_parallel` at a time.

    Every machine of the cluster must see the models under the same path, and the folders of the tasks too,
    unless the machines are apart.

    Args:
        units: what to process.
        num_parallel: number of Ray tasks at a time.
        on_result: called with each source's result when its unit is done.
        is_apart: the machines share nothing but the tasks' object store, and what is made stays there.

    Raises:
        DiskError: the disk takes no more data.
        StoreError: the object store cannot be read or written.
    """
    calls = ((_process_unit, [task.model_dump_json() for task in unit], is_apart) for unit in units)
    results: list[SourceSummary] = []
    signatures = SignatureFile()
    for unit in _results(calls, num_parallel):
        for result in unit:
            results.append(result.filed(signatures))
            on_result(result)
    return results


def compose_on_cluster(
    tars: Sequence[Sequence[KeptClip]], num_parallel: int, store_url: str, on_tar: Callable[[TarEntry], None]
) -> list[TarEntry]:
    """Make tars in the object store as Ray tasks, at most `num_parallel` at a time.

    Args:
        tars: the clips of each, which are in the store.
        num_parallel: number of Ray tasks at a time.
        store_url: of the object store.
        on_tar: called with each entry when its tar is stored.

    Raises:
        StoreError: the object store cannot be read or written, or lacks a clip.
    """
    # Signatures are large, and no part of a tar.
    calls = ((_compose_tar, store_url, [clip._replace(signature=b"") for clip in clips]) for clips in tars)
    entries: list[TarEntry] = []
    for entry in _results(calls, num_parallel):
        entries.append(entry)
        on_tar(entry)
    return entries


def _results(calls: Iterable[tuple[Any, ...]], num_parallel: int) -> Iterator[Any]:
    """Yield what Ray tasks return, in the order of their ends.

    Args:
        calls: a remote function and its arguments each, made when its task is about to start.
        num_parallel: number of tasks at a time.
    """
    waiting = iter(calls)
    running: list[ray.ObjectRef] = []
    try:
        while True:
            for function, *arguments in islice(waiting, num_parallel - len(running)):
                running.append(function.remote(*arguments))
            if not running:
                return
            (done, *_), running = ray.wait(running)
            yield _result_of(done)
    finally:
        for task in running:
            ray.cancel(task, force=True)


def _result_of(task: ray.ObjectRef) -> Any:  # noqa: ANN401 - whatever the task returns
    """Return what a task gave; its error is raised as it was, without the traceback that Ray puts into it."""
    try:
        return ray.get(task)
    except RayTaskError as error:
        raise error.cause from None


@ray.remote(num_cpus=1, max_retries=MAX_UNIT_RETRIES)
def _process_unit(tasks: list[str], is_apart: bool) -> list[SourceSummary]:
    process = process_unit_apart if is_apart else process_unit
    with ChildServer(process_source.__module__) as child:
        unit = [SourceTask.model_validate_json(task) for task in tasks]
        return list(process(unit, child))


@ray.remote(num_cpus=1, max_retries=MAX_UNIT_RETRIES)
def _compose_tar(store_url: str, clips: list[KeptClip]) -> TarEntry:
    return compose_tar(Store(store_url), clips)
