"""Downloads on the machines of a Ray cluster, under limits of the hosts that all runs on it share.

This process must be connected to the cluster. Videos go from the machines to the object store; it gets rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from pipelines.local.cluster import ClusterError
from preprocessing.download.attempt import AttemptResult
from preprocessing.download.limits.host_limits import HostRules, Refusal, Turn
from preprocessing.download.limits.rate_limits import host_of, rules_of
from preprocessing.download.limits.shared_limits import SharedLimits
from preprocessing.download.limits.turns import wait_for_turn
from preprocessing.download.recipe import file_recipe
from preprocessing.download.records.refusals import recall, remember
from preprocessing.download.records.stored_videos import find_stored, keep_record
from preprocessing.download.retries import download_source
from preprocessing.download.worker import Order, carry_out, make_order
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import patiently

NAMESPACE = "lia"
LIMITS = "host_limits"
"""Name of the actor that holds the limits of hosts. It stays on the cluster between runs."""
MAX_RETRIES = 3
"""How often a download is retried after its machine or process is lost."""


class RunLimits:
    """What hosts allow one run, as the cluster's actor says."""

    def __init__(self, store_url: str, run_started: float | None = None) -> None:
        """Begin a run, or take part in one that began at `run_started`.

        Raises:
            ClusterError: the cluster does not answer.
        """
        self._store_url = store_url
        self.run_started: float = _call("now") if run_started is None else run_started

    def ask(self, name: str, rules: HostRules) -> Turn:
        """Grant a request to a host, or say how long to wait."""
        return _call("ask", self._store_url, self.run_started, name, rules)

    def begin(self, name: str, rules: HostRules, number: int | None) -> Turn:
        """Confirm that a granted request begins now, or say how long to wait."""
        return _call("begin", self._store_url, self.run_started, name, rules, number)

    def answered(self, name: str) -> None:
        """Note that the host answered."""
        _call("answered", name)

    def refused(self, name: str, rules: HostRules, retry_after_s: float | None) -> Refusal:
        """Note that the host limits the rate."""
        return _call("refused", self._store_url, self.run_started, name, rules, retry_after_s)


def _call(method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the method returns
    """Call the actor of the limits, which is started if there is none.

    Raises:
        StoreError: what the actor raised.
        ClusterError: the cluster does not answer.
    """
    options: dict[str, Any] = {
        "name": LIMITS,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
    }
    for is_last in (False, True):
        try:
            actor = ray.remote(SharedLimits).options(**options).remote()
            return ray.get(getattr(actor, method).remote(*arguments))
        except ActorDiedError as error:
            # Somebody ended it for good: there is a new one now.
            if is_last:
                raise _failed_cluster(error) from None
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise _failed_cluster(error) from None
    raise AssertionError


def _failed_cluster(error: Exception) -> ClusterError:
    reason = " ".join(str(error).split())[:300]
    return ClusterError(
        f"the Ray cluster failed ({type(error).__name__}: {reason}): see its logs, and run the command again "
        "when it runs; finished downloads are kept"
    )


class ClusterPlace:
    """Machines of the cluster download; videos are kept in the store, and `raw` has their records.

    Local files (file://) are copied by this machine, since others may not see its disk.

    Args:
        settings: limits and retries.
        raw: folder of records.
        store_url: of the store, which every machine reaches.
    """

    def __init__(self, settings: DownloadSettings, raw: Path, store_url: str) -> None:
        self._settings, self._raw = settings, raw
        self._store_url, self._store = store_url, Store(store_url)
        self._limits = RunLimits(store_url)
        self._lock = threading.Lock()
        self._running: set[ray.ObjectRef] = set()

    @property
    def limits(self) -> RunLimits:
        """Of the hosts, for all runs on the cluster."""
        return self._limits

    def find(self, source: Source) -> Download | None:
        """Return what is known of a source; no video is fetched, and one that `raw` has moves to the store.

        Raises:
            StoreError: the store cannot be read or written.
        """
        return self._find_stored(source) or recall(self._raw, source, self._settings)

    def download(self, source: Source, turn: Turn, num_attempts: int) -> AttemptResult | None:
        """Download a source into the store; None if its turn passed before a machine was free.

        Raises:
            StoreError: the store cannot be read or written.
            ClusterError: the cluster does not answer.
        """
        if source.url.startswith("file://"):
            # Nobody limits these, and another machine's answer is no reason to wait.
            result = download_source(source, self._settings, self._raw, lambda: True, num_attempts)
            if result.download.status == DownloadStatus.VERIFIED:
                self._find_stored(source)
            return result
        result = self._on_a_machine(source, turn, num_attempts)
        if result is None or result.num_left:
            return result
        if result.download.status == DownloadStatus.VERIFIED:
            keep_record(self._raw, source.key, result.download)
        return remember(self._raw, source, self._settings, result)

    def stop(self) -> None:
        """Cancel the downloads in progress."""
        with self._lock:
            for task in self._running:
                ray.cancel(task, force=True)

    def _find_stored(self, source: Source) -> Download | None:
        recipe = file_recipe(source.url, self._settings)
        return patiently(
            lambda: find_stored(self._raw, source.key, recipe, self._store), "the list of a video"
        )

    def _on_a_machine(self, source: Source, turn: Turn, num_attempts: int) -> AttemptResult | None:
        order = make_order(source, self._settings, self._store_url, num_attempts)
        try:
            task = _download.remote(order, self._limits.run_started, turn.number)
            with self._lock:
                self._running.add(task)
            try:
                return ray.get(task)
            finally:
                with self._lock:
                    self._running.discard(task)
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError):
            error = f"the machine or process that downloaded it was lost {MAX_RETRIES + 1} times"
            return AttemptResult(download=Download(status=DownloadStatus.RETRYABLE, error=error))
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise _failed_cluster(error) from None


@ray.remote(num_cpus=1, max_retries=MAX_RETRIES, scheduling_strategy="SPREAD")
def _download(order: Order, run_started: float, number: int | None) -> AttemptResult | None:
    return carry_out(order, _turn_keeper(order, run_started, number))


def _turn_keeper(order: Order, run_started: float, number: int | None) -> Callable[[], bool]:
    """Return a function that says whether the host may be requested now; it waits for a short time.

    Each call but the first asks for another turn, since the one that was granted has begun.
    """

    def may_begin() -> bool:
        limits = RunLimits(order.store_url, run_started)
        name = host_of(order.source.url, order.settings.max_per_hour)
        rules = rules_of(name, order.settings)
        return wait_for_turn(lambda granted: limits.begin(name, rules, granted), number)

    return may_begin
