"""Ends connections whose request was answered before its body had arrived, such as a refused upload.

The server would otherwise read such a body to its end, however long, to find the connection's next request.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_DRAIN_S = 2.0
"""How long a body is still read after the answer. A connection closed at once would be reset, and a client
that reads only once it has sent everything would lose the answer."""
MAX_DRAIN_BYTES = 8_000_000
"""How much of it."""


class UnreadBodyMiddleware:
    """Closes the connection after an answer that came before the end of the request's body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        is_read = False
        is_early = False

        async def watched() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def drain() -> None:
            num_bytes = 0
            while not is_read and num_bytes < MAX_DRAIN_BYTES:
                num_bytes += len((await watched()).get("body", b""))

        async def send_all_but_the_end(message: Message) -> None:
            nonlocal is_early
            if message["type"] == "http.response.start" and not is_read:
                is_early = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if is_early and message["type"] == "http.response.body" and not message.get("more_body", False):
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, watched, send_all_but_the_end)
        if is_early:
            with suppress(TimeoutError):
                await asyncio.wait_for(drain(), MAX_DRAIN_S)
            await send({"type": "http.response.body"})


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
