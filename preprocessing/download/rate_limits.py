"""The order in which hosts are asked: so often an hour, with pauses, and not at all after too many refusals.

Decides only; it opens no connection. Times are seconds since 1970, so that an hour's count outlives the run.
"""

import heapq
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from preprocessing.settings import DownloadSettings
from preprocessing.sources.source import Source

HOUR_S = 3600.0
ONE_HOST = {"youtu.be": "youtube.com", "youtube-nocookie.com": "youtube.com"}
"""Names under which one and the same host is asked."""


@dataclass(frozen=True)
class Turn:
    """A source whose turn it is."""

    source: Source
    may_ask: bool
    """False where its host has refused too often in this run."""


@dataclass
class _Host:
    name: str
    max_per_hour: int | None
    waiting: deque[Source] = field(default_factory=deque)
    asked: deque[float] = field(default_factory=deque)
    """When, in the last hour; kept only where there is a limit."""
    ready_at: float = 0.0
    """When it may be asked next, for all that we know of it."""
    paused_until: float = 0.0
    """End of the pause that it asked for itself."""
    num_pauses: int = 0
    """Since its last good answer."""
    is_given_up: bool = False


class HostQueue:
    """Hands out sources, host by host, to threads that ask; see `Turn`.

    Args:
        sources: one per video.
        settings: max_per_hour, request_pause_s, host_pause_s and max_host_pauses.
        state: file that keeps the last hour's counts between runs.
        say: gets a format and its arguments, whenever a host must wait.
    """

    def __init__(
        self, sources: Iterable[Source], settings: DownloadSettings, state: Path, say: Callable[..., None]
    ) -> None:
        """Queue the sources in their order."""
        self._settings, self._state, self._say = settings, state, say
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = {}
        self._num_out = 0
        self._is_stopped = False
        asked = json.loads(state.read_text()) if state.is_file() else {}
        for source in sources:
            name = host_of(source.url, settings.max_per_hour)
            if name not in self._hosts:
                times = deque(asked.get(name, ()))
                self._hosts[name] = _Host(name, settings.max_per_hour.get(name), asked=times)
            self._hosts[name].waiting.append(source)
        self._numbers = itertools.count()
        self._heap = [(host.ready_at, next(self._numbers), host) for host in self._hosts.values()]

    def take(self) -> Turn | None:
        """Return the next source as soon as its host may be asked; None when all are done."""
        with self._changed:
            while not self._is_stopped:
                if not self._heap:
                    if self._num_out == 0:
                        return None
                    self._changed.wait()
                    continue
                host = self._heap[0][-1]
                due = max(host.ready_at, self._free_at(host))
                if host.waiting and due > time.time() and not host.is_given_up:
                    self._wait(host, due)
                    continue
                heapq.heappop(self._heap)
                if host.waiting:
                    return self._hand_out(host)
            return None

    def done(self, source: Source) -> None:
        """Report that the source was fetched, or failed for a reason of its own."""
        with self._changed:
            self._hosts[host_of(source.url, self._settings.max_per_hour)].num_pauses = 0
            self._end_turn()

    def refused(self, source: Source, retry_after_s: float | None) -> bool:
        """Report that the host asked for a pause; return whether the source will get another turn.

        Args:
            source: the one that was asked for.
            retry_after_s: how long the host asked for; None where it did not say.
        """
        with self._changed:
            host = self._hosts[host_of(source.url, self._settings.max_per_hour)]
            # Those who were asked before the pause began are refused too, and that is no second time.
            if host.paused_until <= time.time() and not host.is_given_up:
                self._pause(host, retry_after_s)
            if not host.is_given_up:
                host.waiting.appendleft(source)
            self._push(host)
            self._end_turn()
            return not host.is_given_up

    def skipped(self) -> None:
        """Report that a source whose host may not be asked was left out."""
        with self._changed:
            self._end_turn()

    def stop(self) -> None:
        """Hand out nothing more, for the run has failed; threads that wait get None."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _hand_out(self, host: _Host) -> Turn:
        source = host.waiting.popleft()
        self._num_out += 1
        if not host.is_given_up:
            now = time.time()
            host.ready_at = max(host.ready_at, now + self._settings.request_pause_s)
            if host.max_per_hour is not None:
                host.asked.append(now)
                self._save()
        if host.waiting:
            self._push(host)
        self._changed.notify_all()
        return Turn(source, not host.is_given_up)

    def _pause(self, host: _Host, retry_after_s: float | None) -> None:
        host.num_pauses += 1
        pause_s = self._settings.host_pause_s * 2 ** (host.num_pauses - 1)
        if retry_after_s is not None:
            pause_s = retry_after_s
        if host.num_pauses > self._settings.max_host_pauses or pause_s > HOUR_S:
            host.is_given_up = True
            host.ready_at = 0.0
            self._say(
                "%s asks for a pause of %.0f s after %d others; it is left alone in this run",
                *(host.name, pause_s, host.num_pauses - 1),
            )
        else:
            host.paused_until = time.time() + pause_s
            host.ready_at = max(host.ready_at, host.paused_until)
            self._say("%s asks for a pause; it gets %.0f s", host.name, pause_s)

    def _free_at(self, host: _Host) -> float:
        """Return when the hour's count allows the next request."""
        while host.asked and host.asked[0] <= time.time() - HOUR_S:
            host.asked.popleft()
        if host.max_per_hour is None or len(host.asked) < host.max_per_hour:
            return 0.0
        return host.asked[-host.max_per_hour] + HOUR_S

    def _wait(self, host: _Host, due: float) -> None:
        """Wait for this host, or until another one may be asked sooner."""
        wait_s = due - time.time()
        if due - self._heap[0][0] > 1e-3:
            # It was limited since it was queued: put it where it belongs, so that others go first.
            heapq.heapreplace(self._heap, (due, next(self._numbers), host))
            if wait_s > 60 and due > host.ready_at:
                self._say("%s has had its %s requests an hour; it waits", host.name, host.max_per_hour)
        else:
            self._changed.wait(wait_s)

    def _push(self, host: _Host) -> None:
        heapq.heappush(self._heap, (host.ready_at, next(self._numbers), host))

    def _end_turn(self) -> None:
        self._num_out -= 1
        self._changed.notify_all()

    def _save(self) -> None:
        asked = {host.name: list(host.asked) for host in self._hosts.values() if host.asked}
        self._state.parent.mkdir(parents=True, exist_ok=True)
        partial = self._state.with_suffix(".partial")
        partial.write_text(json.dumps(asked))
        partial.replace(self._state)


def host_of(url: str, limits: Mapping[str, int]) -> str:
    """Return the name of the host that answers for an address: one with a limit stands for those below it."""
    name = urlsplit(url).hostname or ""
    for known in (*ONE_HOST, *limits):
        if name == known or name.endswith(f".{known}"):
            return ONE_HOST.get(known, known)
    return name
