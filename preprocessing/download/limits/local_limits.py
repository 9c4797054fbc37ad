"""The limits of hosts for the runs of one project on one machine, kept in a file between runs."""

import json
import threading
import time
from pathlib import Path

from preprocessing.download.limits.host_limits import HostLimits, HostRules, Refusal, Turn
from preprocessing.storage.files import write_atomically


class LocalLimits:
    """The limits of a run of this process alone.

    Args:
        state: file that keeps the requests of the last hour between runs.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._limits = HostLimits()
        self._lock = threading.Lock()
        self._started = time.time()
        if state.is_file():
            self._limits.merge(json.loads(state.read_text()))

    def ask(self, name: str, rules: HostRules) -> Turn:
        """Grant a request to a host, which begins at once, or say how long to wait."""
        with self._lock:
            now = time.time()
            turn = self._limits.ask(name, rules, now, self._started)
            if turn.is_granted:
                self._limits.begin(name, rules, turn.number, now, self._started)
                if self._limits.has_quota(name):
                    with write_atomically(self._state) as partial:
                        partial.write_text(json.dumps(self._limits.requests()))
            return turn

    def answered(self, name: str) -> None:
        """Note that the host answered."""
        with self._lock:
            self._limits.answered(name)

    def refused(self, name: str, rules: HostRules, retry_after_s: float | None) -> Refusal:
        """Note that the host limits the rate."""
        with self._lock:
            return self._limits.refused(name, rules, retry_after_s, time.time(), self._started)
