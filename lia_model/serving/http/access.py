"""Checks who sends a request: the token, or without one, that no foreign web page sent it."""

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lia_model.serving.errors import error_answer

OPEN_PATHS = ("/healthz",)
"""Answered without a token, whatever the rate."""


class AccessMiddleware:
    """Refuses requests without the token; without a configured one, those that web pages of others may forge.

    A service without a token listens on loopback alone, but browsers of that machine reach it for every page
    they show. Such a request names the page's host in `Origin`, or, if the page made its own name point to
    loopback (DNS rebinding), in `Host`.

    Args:
        app: the application that gets the other requests.
        token: required bearer token; None requires a local `Host` and no other `Origin`.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        # Not the path of `Request.url`: a URL is built from the Host header too, which may be forged.
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
        elif self._token is None and not is_local(headers.get("host", ""), headers.get("origin")):
            answer = error_answer(
                403,
                "foreign_origin",
                "the Host or Origin header names another site; without a token only localhost is allowed: "
                "use that name, or set LIA_API_TOKEN",
            )
            await answer(scope, receive, send)
        elif self._token is not None and not is_authorized(headers.get("authorization", ""), self._token):
            answer = error_answer(
                401, "unauthorized", "the token is missing or wrong; send it as `Authorization: Bearer TOKEN`"
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_authorized(authorization: str, token: str) -> bool:
    """Return whether the value of an Authorization header is the bearer token."""
    # Starlette decodes headers as Latin-1; encoded again, these are the bytes that were sent.
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip(" ").encode("latin-1"), token.encode()
    )


def is_local(host: str, origin: str | None) -> bool:
    """Return whether `host` is a name of loopback, and `origin`, unless None, a page of the same host."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        page = host if origin is None else urlsplit(origin).netloc
    except ValueError:
        return False
    return page.lower() == host.lower() and (name == "localhost" or _is_loopback_address(name))


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
