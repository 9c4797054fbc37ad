"""Per-host rate limits: hourly quota, distance between requests, back-off, giving up.

Decides only; it opens no connection. Times are seconds since 1970, so that quotas outlive the run.
"""

import heapq
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source
from preprocessing.storage.files import write_atomically

HOUR_S = 3600.0
HOST_ALIASES = {"youtu.be": "youtube.com", "youtube-nocookie.com": "youtube.com"}


@dataclass
class _Host:
    name: str
    max_per_hour: int | None
    waiting: deque[Source] = field(default_factory=deque)
    requests: deque[float] = field(default_factory=deque)
    """Times of the last hour's requests; recorded only under a quota."""
    ready_at: float = 0.0
    """Earliest time of the next request, quota aside."""
    backing_off_until: float = 0.0
    num_backoffs: int = 0
    """Since the last successful request."""
    is_given_up: bool = False


class RateLimitedQueue:
    """Hands out sources to threads as fast as the limits of their hosts allow.

    A thread calls `take`, requests the source, and reports `done` or `rate_limited`.

    Args:
        sources: one per video.
        settings: max_per_hour, request_pause_s, host_pause_s and max_host_pauses.
        state: file that keeps the requests of the last hour between runs.
        log: called with a format and its arguments when a host is backed off.
    """

    def __init__(
        self, sources: Iterable[Source], settings: DownloadSettings, state: Path, log: Callable[..., None]
    ) -> None:
        self._settings, self._state, self._log = settings, state, log
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = {}
        self._num_in_progress = 0
        self._is_stopped = False
        self.given_up: list[Source] = []
        """Sources that were never handed out, since their host kept on limiting the rate."""
        requests = json.loads(state.read_text()) if state.is_file() else {}
        for source in sources:
            name = host_of(source.url, settings.max_per_hour)
            if name not in self._hosts:
                times = deque(requests.get(name, ()))
                self._hosts[name] = _Host(name, settings.max_per_hour.get(name), requests=times)
            self._hosts[name].waiting.append(source)
        self._numbers = itertools.count()
        self._heap = [(host.ready_at, next(self._numbers), host) for host in self._hosts.values()]

    def take(self) -> Source | None:
        """Wait until a source may be requested and return it; None when none is left or the queue stopped."""
        with self._changed:
            while not self._is_stopped:
                if not self._heap:
                    if self._num_in_progress == 0:
                        return None
                    # A source in progress may be put back.
                    self._changed.wait()
                    continue
                host = self._heap[0][-1]
                due = max(host.ready_at, self._quota_free_at(host))
                if host.waiting and due > time.time():
                    self._wait(host, due)
                    continue
                heapq.heappop(self._heap)
                if host.waiting:
                    return self._hand_out(host)
            return None

    def done(self, source: Source) -> None:
        """Report that the host answered, whether or not the source was downloaded."""
        with self._changed:
            self._host_of(source).num_backoffs = 0
            self._end_request()

    def rate_limited(self, source: Source, retry_after_s: float | None) -> bool:
        """Report that the host limits the rate; return whether the source will be handed out again.

        Args:
            source: the source that was requested.
            retry_after_s: the host's Retry-After, which replaces our own back-off; None without one.
        """
        with self._changed:
            host = self._host_of(source)
            # Requests that began before the back-off are refused too and do not count again.
            if host.backing_off_until <= time.time() and not host.is_given_up:
                self._back_off(host, retry_after_s)
            if not host.is_given_up:
                host.waiting.appendleft(source)
            self._push(host)
            self._end_request()
            return not host.is_given_up

    def stop(self) -> None:
        """Hand out nothing more; waiting threads get None."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _host_of(self, source: Source) -> _Host:
        return self._hosts[host_of(source.url, self._settings.max_per_hour)]

    def _hand_out(self, host: _Host) -> Source:
        source = host.waiting.popleft()
        self._num_in_progress += 1
        now = time.time()
        host.ready_at = max(host.ready_at, now + self._settings.request_pause_s)
        if host.max_per_hour is not None:
            host.requests.append(now)
            self._save()
        if host.waiting:
            self._push(host)
        self._changed.notify_all()
        return source

    def _back_off(self, host: _Host, retry_after_s: float | None) -> None:
        host.num_backoffs += 1
        pause_s = self._settings.host_pause_s * 2 ** (host.num_backoffs - 1)
        if retry_after_s is not None:
            pause_s = retry_after_s
        if host.num_backoffs > self._settings.max_host_pauses or pause_s > HOUR_S:
            host.is_given_up = True
            self.given_up += host.waiting
            host.waiting.clear()
            self._log(
                "%s: rate limited after %d back-offs, next one %.0f s; giving up on it in this run",
                *(host.name, host.num_backoffs - 1, pause_s),
            )
        else:
            host.backing_off_until = time.time() + pause_s
            host.ready_at = max(host.ready_at, host.backing_off_until)
            self._log("%s: rate limited; backing off for %.0f s", host.name, pause_s)

    def _quota_free_at(self, host: _Host) -> float:
        """Return the earliest time at which the hourly quota allows the next request."""
        while host.requests and host.requests[0] <= time.time() - HOUR_S:
            host.requests.popleft()
        if host.max_per_hour is None or len(host.requests) < host.max_per_hour:
            return 0.0
        return host.requests[-host.max_per_hour] + HOUR_S

    def _wait(self, host: _Host, due: float) -> None:
        """Wait for this host, or until another one is ready sooner."""
        wait_s = due - time.time()
        if due - self._heap[0][0] > 1e-3:
            # Its limits changed since it was queued: reinsert it at its time, so that other hosts go first.
            heapq.heapreplace(self._heap, (due, next(self._numbers), host))
            if wait_s > 60 and due > host.ready_at:
                self._log("%s: quota of %s requests an hour reached; waiting", host.name, host.max_per_hour)
        else:
            self._changed.wait(wait_s)

    def _push(self, host: _Host) -> None:
        heapq.heappush(self._heap, (host.ready_at, next(self._numbers), host))

    def _end_request(self) -> None:
        self._num_in_progress -= 1
        self._changed.notify_all()

    def _save(self) -> None:
        requests = {host.name: list(host.requests) for host in self._hosts.values() if host.requests}
        with write_atomically(self._state) as partial:
            partial.write_text(json.dumps(requests))


def host_of(url: str, limits: Iterable[str]) -> str:
    """Return the host that an address counts for; a host with a limit includes its subdomains."""
    name = urlsplit(url).hostname or ""
    for known in (*HOST_ALIASES, *limits):
        if name == known or name.endswith(f".{known}"):
            return HOST_ALIASES.get(known, known)
    return name
