"""Checks the token and the size of a request before the application reads its body."""

import hmac

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lia_model.serving.errors import error_answer

OPEN_PATHS = ("/healthz",)
"""Answered without a token."""


class AccessMiddleware:
    """Refuses requests without the token, and bodies that are too large.

    Args:
        app: the application that gets the other requests.
        token: required bearer token; None allows every request.
        max_body_bytes: largest body; the declared length is checked first, then the bytes that arrive.
    """

    def __init__(self, app: ASGIApp, token: str | None, max_body_bytes: int) -> None:
        self._app = app
        self._token = token
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Not the path of `Request.url`: a URL is built from the Host header too, which may be forged.
        if not self._is_authorized(scope["path"], headers.get("authorization", "")):
            answer = error_answer(
                401, "unauthorized", "the token is missing or wrong; send it as `Authorization: Bearer TOKEN`"
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            await answer(scope, receive, send)
        elif self._is_too_large(headers.get("content-length", "")):
            await error_answer(413, "too_large", self._too_large())(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _is_authorized(self, path: str, authorization: str) -> bool:
        if self._token is None or path in OPEN_PATHS:
            return True
        # Starlette decodes headers as Latin-1; encoded again, these are the bytes that were sent.
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip(" ").encode("latin-1"), self._token.encode()
        )

    def _is_too_large(self, content_length: str) -> bool:
        return content_length.isdecimal() and int(content_length) > self._max_body_bytes

    def _counted(self, receive: Receive) -> Receive:
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"the body has more than {self._max_body_bytes} bytes; send smaller files"
