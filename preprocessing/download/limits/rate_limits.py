"""The queue of one run: hands out sources as fast as the limits of their hosts allow.

What hosts allow is decided by `host_limits`, in this process or, for all runs of a cluster, in one of it.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from preprocessing.download.limits.host_limits import HostRules, Refusal, Turn
from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source

HOST_ALIASES = {"youtu.be": "youtube.com", "youtube-nocookie.com": "youtube.com"}
_LOGGED_WAIT_S = 60.0
"""Waits for a quota are logged if they are longer."""


@runtime_checkable
class Limits(Protocol):
    """What hosts allow one run; called from several threads. See `HostLimits`."""

    def ask(self, name: str, rules: HostRules) -> Turn:
        """Grant a request to a host, or say how long to wait."""
        ...

    def answered(self, name: str) -> None:
        """Note that the host answered."""
        ...

    def refused(self, name: str, rules: HostRules, retry_after_s: float | None) -> Refusal:
        """Note that the host limits the rate."""
        ...


@dataclass
class _Host:
    name: str
    rules: HostRules
    waiting: deque[Source] = field(default_factory=deque)
    is_queued: bool = False


class RateLimitedQueue:
    """Hands out sources to threads as fast as the limits of their hosts allow.

    A thread calls `take`, requests the source, and reports `done` or `rate_limited`, or puts it back.

    Args:
        sources: one per video.
        settings: max_per_hour, request_pause_s, host_pause_s and max_host_pauses.
        limits: what the hosts allow.
        log: called with a format and its arguments when a host is backed off.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        settings: DownloadSettings,
        limits: Limits,
        log: Callable[..., None],
    ) -> None:
        self._settings, self._limits, self._log = settings, limits, log
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = {}
        self._num_in_progress = 0
        self._is_stopped = False
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, _Host]] = []
        """Hosts with waiting sources, by the time at which their limits are asked next."""
        self.given_up: list[Source] = []
        """Sources that were never handed out, since their host kept on limiting the rate."""
        for source in sources:
            host = self._host_of(source)
            host.waiting.append(source)
            self._push(host, 0.0)

    def take(self) -> tuple[Source, Turn] | None:
        """Wait until a source may be requested; return it with its turn, or None at the end.

        The end has come when no source is left or the queue stopped.
        """
        while (chosen := self._next()) is not None:
            host, source = chosen
            # Outside the lock, since the limits may be another process's.
            turn = self._limits.ask(host.name, host.rules)
            with self._changed:
                if turn.is_granted:
                    self._push(host, 0.0)
                    self._changed.notify_all()
                    return source, turn
                host.waiting.appendleft(source)
                if turn.is_given_up:
                    self._give_up(host)
                else:
                    self._push(host, turn.wait_s)
                self._end_request()
            if turn.quota is not None and turn.wait_s > _LOGGED_WAIT_S:
                self._log("%s: quota of %s requests an hour reached; waiting", host.name, turn.quota)
        return None

    def done(self, source: Source) -> None:
        """Report that the host answered, whether or not the source was downloaded."""
        self._limits.answered(self._host_of(source).name)
        with self._changed:
            self._end_request()

    def put_back(self, source: Source) -> None:
        """Report that the source was not requested after all; it is handed out again."""
        with self._changed:
            host = self._host_of(source)
            host.waiting.appendleft(source)
            self._push(host, 0.0)
            self._end_request()

    def rate_limited(self, source: Source, retry_after_s: float | None) -> bool:
        """Report that the host limits the rate; return whether the source will be handed out again.

        Args:
            source: the source that was requested.
            retry_after_s: the host's Retry-After, which replaces our own back-off; None without one.
        """
        host = self._host_of(source)
        refusal = self._limits.refused(host.name, host.rules, retry_after_s)
        if refusal.is_new and refusal.is_given_up:
            self._log(
                "%s: rate limited after %d back-offs, next one %.0f s; giving up on it in this run",
                *(host.name, refusal.num_backoffs - 1, refusal.pause_s),
            )
        elif refusal.is_new:
            self._log("%s: rate limited; backing off for %.0f s", host.name, refusal.pause_s)
        with self._changed:
            if refusal.is_given_up:
                self._give_up(host)
            else:
                host.waiting.appendleft(source)
                self._push(host, refusal.pause_s)
            self._end_request()
        return not refusal.is_given_up

    def stop(self) -> None:
        """Hand out nothing more; waiting threads get None."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _next(self) -> tuple[_Host, Source] | None:
        """Wait until the limits of a host are to be asked; return it and its first source, or None."""
        with self._changed:
            while not self._is_stopped:
                if not self._heap:
                    if self._num_in_progress == 0:
                        return None
                    # A source in progress may be put back.
                    self._changed.wait()
                    continue
                wait_s = self._heap[0][0] - time.monotonic()
                if wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                host = heapq.heappop(self._heap)[-1]
                host.is_queued = False
                if host.waiting:
                    self._num_in_progress += 1
                    return host, host.waiting.popleft()
            return None

    def _host_of(self, source: Source) -> _Host:
        settings = self._settings
        name = host_of(source.url, settings.max_per_hour)
        if name not in self._hosts:
            self._hosts[name] = _Host(name, rules_of(name, settings))
        return self._hosts[name]

    def _push(self, host: _Host, wait_s: float) -> None:
        if host.waiting and not host.is_queued:
            host.is_queued = True
            heapq.heappush(self._heap, (time.monotonic() + wait_s, next(self._numbers), host))

    def _give_up(self, host: _Host) -> None:
        self.given_up += host.waiting
        host.waiting.clear()

    def _end_request(self) -> None:
        self._num_in_progress -= 1
        self._changed.notify_all()


def rules_of(name: str, settings: DownloadSettings) -> HostRules:
    """Return what the settings want of a host."""
    return HostRules(
        settings.max_per_hour.get(name),
        settings.request_pause_s,
        settings.host_pause_s,
        settings.max_host_pauses,
    )


def host_of(url: str, limits: Iterable[str]) -> str:
    """Return the host that an address counts for; a host with a limit includes its subdomains."""
    name = urlsplit(url).hostname or ""
    for known in (*HOST_ALIASES, *limits):
        if name == known or name.endswith(f".{known}"):
            return HOST_ALIASES.get(known, known)
    return name
