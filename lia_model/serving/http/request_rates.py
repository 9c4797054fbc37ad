"""Limits how many requests a client address may send a second, by a token bucket for each."""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from lia_model.serving.errors import error_answer
from lia_model.serving.http.access import OPEN_PATHS

MAX_NUM_CLIENTS = 10_000
"""Addresses that are remembered; beyond it, those that have been idle for longest are forgotten."""


class RequestRates:
    """Counts requests by client: `max_per_s` a second on average, and as many at once.

    Args:
        max_per_s: requests a second and client.
        clock: seconds that never run backwards.
    """

    def __init__(self, max_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_per_s = max_per_s
        self._clock = clock
        self._due_s: dict[str, float] = {}

    def wait_s(self, client: str) -> float:
        """Count a request of `client` and return 0, or return how long it must wait, not counted."""
        now = self._clock()
        # When all requests so far are due, had they been sent at the allowed rate.
        due_s = max(self._due_s.pop(client, now), now)
        ahead_s = due_s + 1 / self._max_per_s - now
        allowed_s = max(1.0, 1 / self._max_per_s)
        is_allowed = ahead_s <= allowed_s + 1e-9
        self._due_s[client] = now + ahead_s if is_allowed else due_s
        if len(self._due_s) > MAX_NUM_CLIENTS:
            del self._due_s[next(iter(self._due_s))]
        return 0.0 if is_allowed else ahead_s - allowed_s


class RateMiddleware:
    """Refuses requests of an address that sends too many; the health check is not counted."""

    def __init__(self, app: ASGIApp, max_per_s: float) -> None:
        self._app = app
        self._max_per_s = max_per_s
        self._rates = RequestRates(max_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        wait_s = self._rates.wait_s((scope.get("client") or ("",))[0])
        if wait_s == 0:
            await self._app(scope, receive, send)
            return
        answer = error_answer(
            429, "too_many_requests", f"more than {self._max_per_s:g} requests a second; try again later"
        )
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
        await answer(scope, receive, send)
