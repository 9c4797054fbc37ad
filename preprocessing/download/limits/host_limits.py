"""What hosts allow: an hourly quota, a distance between requests, back-off, giving up.

Decides only: it opens no connection, reads no clock and never waits. Times are seconds since 1970 by one
clock, so that quotas outlive the process.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HOUR_S = 3600.0
FRESH_S = 5.0
"""How long after its turn a request may begin without asking again."""


@dataclass(frozen=True)
class HostRules:
    """What one run wants of a host; see the settings of the same names."""

    max_per_hour: int | None
    """None sets no quota."""
    request_pause_s: float
    host_pause_s: float
    max_host_pauses: int


@dataclass(frozen=True)
class Turn:
    """Answer to a run that wants to request something of a host."""

    wait_s: float = 0.0
    """When to ask again; 0 grants the request, which counts from now on, and infinity gives the host up."""
    number: int | None = None
    """Names a granted request, also one that has to wait a little before it begins."""
    quota: int | None = None
    """Requests an hour; None unless the quota is what has to be waited for."""

    @property
    def is_granted(self) -> bool:
        """Whether the host may be requested now."""
        return self.wait_s <= 0

    @property
    def is_given_up(self) -> bool:
        """Whether the run is to request nothing more of the host."""
        return self.wait_s == math.inf


@dataclass(frozen=True)
class Refusal:
    """What follows when a host says that it limits the rate."""

    pause_s: float
    """Until the next request; of a back-off that already goes on, what is left of it."""
    num_backoffs: int
    """Since the last successful request."""
    is_given_up: bool
    is_new: bool
    """Whether it counts: requests that began before a back-off are refused too and do not count again."""


@dataclass
class _Host:
    rules: dict[HostRules, float] = field(default_factory=dict)
    """When each was last asked by."""
    requests: deque[float] = field(default_factory=deque)
    """Times of the last hour's requests, in order; recorded only under a quota."""
    granted: dict[int, float] = field(default_factory=dict)
    """Times of turns whose requests have not begun."""
    last_request: float = -math.inf
    last_begin: float = -math.inf
    backing_off_until: float = -math.inf
    num_backoffs: int = 0
    given_up_at: float = -math.inf


class HostLimits:
    """Grants requests to hosts for any number of runs.

    Where runs have different rules for one host, the strictest value of each counts: a run's rules count for
    an hour after it last asked.
    """

    def __init__(self) -> None:
        """Start without memory of any request."""
        self._hosts: dict[str, _Host] = {}
        self._limited: set[str] = set()
        self._numbers = itertools.count(1)

    def ask(self, name: str, rules: HostRules, now: float, run_started: float) -> Turn:
        """Grant a run a request to the host `name`, or say how long it has to wait.

        Args:
            name: see `host_of`.
            rules: of the run.
            now: the time.
            run_started: when the run began: it gives up on a host that was given up on since then.
        """
        if rules.max_per_hour is not None:
            self._limited.add(name)
        host = self._host(name)
        host.rules[rules] = now
        strictest = _forget_old(host, now)
        if host.given_up_at >= run_started:
            return Turn(math.inf)
        ready = max(host.backing_off_until, host.last_request + strictest.request_pause_s)
        free = _quota_free_at(host, strictest.max_per_hour)
        if max(ready, free) > now:
            return Turn(max(ready, free) - now, quota=strictest.max_per_hour if free > ready else None)
        number = next(self._numbers)
        host.last_request = now
        # No two are equal, so that one that is read twice is known by its time.
        time = max(now, math.nextafter(host.requests[-1], math.inf)) if host.requests else now
        host.granted[number] = time
        if strictest.max_per_hour is not None:
            host.requests.append(time)
        return Turn(number=number)

    def begin(self, name: str, rules: HostRules, number: int | None, now: float, run_started: float) -> Turn:
        """Confirm that a granted request begins now; one that began before, or late, needs a new turn.

        Args:
            name: of the host.
            rules: of the run.
            number: of the turn; None for none.
            now: the time.
            run_started: as for `ask`.
        """
        host = self._host(name)
        granted = None if number is None else host.granted.pop(number, None)
        if number is not None and granted is not None and now - granted <= FRESH_S:
            wait_s = host.last_begin + strictest_rules([rules, *host.rules]).request_pause_s - now
            if wait_s > 0:
                host.granted[number] = granted
                return Turn(wait_s, number)
            host.last_begin = host.last_request = now
            return Turn(number=number)
        if granted is not None and granted in host.requests:
            host.requests.remove(granted)
        turn = self.ask(name, rules, now, run_started)
        if turn.number is not None:
            host.granted.pop(turn.number)
            host.last_begin = now
        return turn

    def answered(self, name: str) -> None:
        """Note that the host answered a request, whatever it said."""
        self._host(name).num_backoffs = 0

    def refused(
        self, name: str, rules: HostRules, retry_after_s: float | None, now: float, run_started: float
    ) -> Refusal:
        """Note that the host limits the rate, and back off or give up.

        Args:
            name: of the host.
            rules: of the run.
            retry_after_s: the host's Retry-After, which replaces our own back-off; None without one.
            now: the time.
            run_started: as for `ask`.
        """
        host = self._host(name)
        host.rules[rules] = now
        strictest = _forget_old(host, now)
        if host.given_up_at >= run_started:
            return Refusal(math.inf, host.num_backoffs, is_given_up=True, is_new=False)
        if host.backing_off_until > now:
            left_s = host.backing_off_until - now
            return Refusal(left_s, host.num_backoffs, is_given_up=False, is_new=False)
        host.num_backoffs += 1
        pause_s = strictest.host_pause_s * 2 ** (host.num_backoffs - 1)
        if retry_after_s is not None:
            pause_s = retry_after_s
        if host.num_backoffs > strictest.max_host_pauses or pause_s > HOUR_S:
            refusal = Refusal(pause_s, host.num_backoffs, is_given_up=True, is_new=True)
            # A run that begins later tries again.
            host.given_up_at, host.num_backoffs = now, 0
            return refusal
        host.backing_off_until = now + pause_s
        return Refusal(pause_s, host.num_backoffs, is_given_up=False, is_new=True)

    def has_quota(self, name: str) -> bool:
        """Return whether requests to the host are recorded."""
        return bool(self._host(name).requests)

    def requests(self) -> dict[str, list[float]]:
        """Return the times of the last hour's requests by host, as `merge` takes them."""
        return {name: list(host.requests) for name, host in self._hosts.items() if host.requests}

    def merge(self, requests: Mapping[str, Iterable[float]]) -> None:
        """Add requests that were recorded elsewhere; known ones count once."""
        for name, times in requests.items():
            self._limited.add(name)
            host = self._host(name)
            host.requests = deque(sorted({*host.requests, *times}))

    def _host(self, name: str) -> _Host:
        # A run that sets a quota for a host means its subdomains too, also for runs that set none.
        for limited in self._limited:
            if name.endswith(f".{limited}"):
                name = limited
        return self._hosts.setdefault(name, _Host())


def strictest_rules(rules: Iterable[HostRules]) -> HostRules:
    """Return the rules that obey all of `rules`, of which there is at least one."""
    given = list(rules)
    return HostRules(
        min((one.max_per_hour for one in given if one.max_per_hour is not None), default=None),
        max(one.request_pause_s for one in given),
        max(one.host_pause_s for one in given),
        min(one.max_host_pauses for one in given),
    )


def _forget_old(host: _Host, now: float) -> HostRules:
    """Drop what is an hour old and return the rules that are left, of which there is at least one."""
    while host.requests and host.requests[0] <= now - HOUR_S:
        host.requests.popleft()
    while host.granted and next(iter(host.granted.values())) <= now - HOUR_S:
        host.granted.pop(next(iter(host.granted)))
    host.rules = {rules: asked for rules, asked in host.rules.items() if asked > now - HOUR_S}
    return strictest_rules(host.rules)


def _quota_free_at(host: _Host, max_per_hour: int | None) -> float:
    """Return the earliest time at which the hourly quota allows the next request."""
    if max_per_hour is None or len(host.requests) < max_per_hour:
        return -math.inf
    return host.requests[-max_per_hour] + HOUR_S
