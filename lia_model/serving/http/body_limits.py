"""Limits how large request bodies are, how slowly they may arrive, and how many are received at a time."""

import asyncio
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lia_model.serving.errors import error_answer
from lia_model.settings import RequestLimits

MAX_TEXT_BYTES = 16_000_000
"""Largest body that is not a form with files: it is held in memory, several times over once it is parsed."""
_NEWEST_WEIGHT = 0.2
"""Of a request in the mean time that requests with a body take."""
_METHODS_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class BodyMiddleware:
    """Refuses bodies that are too large or too slow, and requests with a body beyond a number at a time.

    A request counts until it is answered, so that requests which wait for a thread are limited too.

    Args:
        app: the application that gets the other requests.
        max_body_bytes: largest body; the declared length is checked first, then the bytes that arrive.
        limits: number and speed.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        limits: RequestLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._limits = limits
        self._clock = clock
        self._num_received = 0
        self._mean_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        most = self._max_body_bytes if is_form else min(self._max_body_bytes, MAX_TEXT_BYTES)
        limited = self._limited(receive, most)
        if _is_larger(headers.get("content-length", ""), most):
            await error_answer(413, "too_large", _too_large(most))(scope, receive, send)
        elif scope["method"] in _METHODS_WITHOUT_BODY:
            await self._app(scope, limited, send)
        elif self._num_received >= self._limits.max_num_uploads:
            answer = error_answer(
                429,
                "too_many_uploads",
                f"at most {self._limits.max_num_uploads} uploads are received at a time; try again later",
            )
            # One of them ends about every so often.
            wait_s = math.ceil(self._mean_s / self._num_received)
            answer.headers["Retry-After"] = str(max(wait_s, 1))
            await answer(scope, receive, send)
        else:
            begin_s = self._clock()
            self._num_received += 1
            try:
                await self._app(scope, limited, send)
            finally:
                self._num_received -= 1
                self._mean_s += _NEWEST_WEIGHT * (self._clock() - begin_s - self._mean_s)

    def _limited(self, receive: Receive, most: int) -> Receive:
        begin_s, num_bytes, is_complete = self._clock(), 0, False

        async def limited() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:
                # What comes now is the end of the connection, which may take as long as the answer.
                return await receive()
            left_s = time_left_s(self._clock() - begin_s, num_bytes, self._limits)
            try:
                message = await asyncio.wait_for(receive(), left_s)
            except TimeoutError:
                raise HTTPException(408, self._too_slow()) from None
            num_bytes += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if num_bytes > most:
                raise HTTPException(413, _too_large(most))
            return message

        return limited

    def _too_slow(self) -> str:
        return (
            f"the body paused for {self._limits.max_pause_s:g} s or came with fewer than "
            f"{self._limits.min_bytes_per_s} bytes a second; send it again over a faster connection"
        )


def _is_larger(content_length: str, most: int) -> bool:
    return content_length.isdecimal() and int(content_length) > most


def _too_large(most: int) -> str:
    return f"the body has more than {most} bytes; send less"


def time_left_s(elapsed_s: float, num_bytes: int, limits: RequestLimits) -> float:
    """Return how long the next bytes of a body may take.

    A pause is limited, and so is the whole time, by the bytes that have arrived: else a byte now and then
    would hold an upload for ever.
    """
    due_s = limits.max_pause_s + num_bytes / limits.min_bytes_per_s
    return max(0.0, min(limits.max_pause_s, due_s - elapsed_s))
