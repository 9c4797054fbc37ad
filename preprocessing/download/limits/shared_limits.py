"""The limits of hosts for all runs of a cluster, which call one process; the last hour's requests outlive it.

They are kept in the stores of the runs. Each call names the caller's store, so that a process that is started
again, or the first one of another cluster, learns what was requested before it grants anything.
"""

import json
import logging
import tempfile
import time
from pathlib import Path

from preprocessing.download.limits.host_limits import HOUR_S, HostLimits, HostRules, Refusal, Turn
from preprocessing.storage.object_store import Store
from preprocessing.storage.outage import StoreError, patiently

logger = logging.getLogger(__name__)

REQUESTS = "downloads/hosts.json"
"""Name of the file in each store."""


class SharedLimits:
    """`HostLimits` with this process's clock, for one call at a time.

    A granted request is in the caller's store before the caller learns of it, so nothing under a quota is
    granted while that store is down. Every method but `now` raises a StoreError if it stays down.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._limits = HostLimits()
        self._stores: dict[str, tuple[Store, float]] = {}
        """By URL, with the time of the last call."""

    def now(self) -> float:
        """Return the time by which a run tells when it began."""
        return time.time()

    def ask(self, store_url: str, run_started: float, name: str, rules: HostRules) -> Turn:
        """See `HostLimits.ask`."""
        self._learn(store_url)
        turn = self._limits.ask(name, rules, time.time(), run_started)
        if turn.is_granted:
            self._keep(store_url, name)
        return turn

    def begin(
        self, store_url: str, run_started: float, name: str, rules: HostRules, number: int | None
    ) -> Turn:
        """See `HostLimits.begin`."""
        self._learn(store_url)
        turn = self._limits.begin(name, rules, number, time.time(), run_started)
        if turn.is_granted and turn.number != number:
            self._keep(store_url, name)
        return turn

    def answered(self, name: str) -> None:
        """See `HostLimits.answered`."""
        self._limits.answered(name)

    def refused(
        self, store_url: str, run_started: float, name: str, rules: HostRules, retry_after_s: float | None
    ) -> Refusal:
        """See `HostLimits.refused`."""
        self._learn(store_url)
        return self._limits.refused(name, rules, retry_after_s, time.time(), run_started)

    def _learn(self, store_url: str) -> None:
        """Read what a store keeps and write what it lacks, unless it is known."""
        now = time.time()
        known = self._stores.get(store_url)
        if known is None:
            store = Store(store_url)
            kept = patiently(lambda: _read(store), REQUESTS)
            self._limits.merge(kept)
            if kept != self._limits.requests():
                patiently(lambda: _write(store, self._limits.requests()), REQUESTS)
        else:
            store = known[0]
        self._stores[store_url] = store, now
        self._stores = {url: one for url, one in self._stores.items() if one[1] > now - HOUR_S}

    def _keep(self, store_url: str, name: str) -> None:
        """Write the requests to the stores, if those to the host count."""
        if not self._limits.has_quota(name):
            return
        requests = self._limits.requests()
        store = self._stores[store_url][0]
        patiently(lambda: _write(store, requests), REQUESTS)
        for url in self._stores.keys() - {store_url}:
            try:
                _write(self._stores[url][0], requests)
            except StoreError as error:
                # Its own run waits for it, or has ended; the next call that names it reads it again.
                logger.warning("%s is not written: %s", REQUESTS, error)
                del self._stores[url]


def _read(store: Store) -> dict[str, list[float]]:
    if store.version(REQUESTS) is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts.json"
        store.download(REQUESTS, path)
        return json.loads(path.read_text())


def _write(store: Store, requests: dict[str, list[float]]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(requests, file)
        file.flush()
        store.upload(Path(file.name), REQUESTS)
