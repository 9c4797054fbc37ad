"""Checks who sends a request: by its token, or without tokens, that no foreign web page sent it."""

import ipaddress
import logging
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lia_model.serving.access.scopes import OPERATOR, Caller, required_scope
from lia_model.serving.access.token_file import TokenFileError
from lia_model.serving.access.tokens import Tokens
from lia_model.serving.errors import error_answer

logger = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz",)
"""Answered without a token, whatever the rate."""


class AccessMiddleware:
    """Refuses requests without a token that allows them; without tokens, those that foreign pages may forge.

    A service without tokens listens on loopback alone, but browsers of that machine reach it for every page
    they show. Such a request names the page's host in `Origin`, or, if the page made its own name point to
    loopback (DNS rebinding), in `Host`.

    Args:
        app: the application that gets the other requests.
        tokens: accepted tokens; if none is required, a local `Host` and no other `Origin` are.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        # Not the path of `Request.url`: a URL is built from the Host header too, which may be forged.
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        found = self._identify(Headers(scope=scope), scope["method"])
        if isinstance(found, Caller):
            scope.setdefault("state", {})["caller"] = found
            await self._app(scope, receive, send)
        else:
            await found(scope, receive, send)

    def _identify(self, headers: Headers, method: str) -> Caller | JSONResponse:
        """Return who sent a request, or the answer that refuses it."""
        if not self._tokens.is_required:
            if is_local(headers.get("host", ""), headers.get("origin")):
                return OPERATOR
            return error_answer(
                403,
                "foreign_origin",
                "the Host or Origin header names another site; without a token only localhost is allowed: "
                "use that name, or set LIA_API_TOKEN",
            )
        try:
            caller = self._tokens.caller(headers.get("authorization", ""))
        except TokenFileError as error:
            logger.error("%s", error)
            return error_answer(503, "unavailable", "the tokens cannot be read; try again later")
        if caller is None:
            return _refuse(
                401,
                "unauthorized",
                "the token is missing or wrong; send it as `Authorization: Bearer TOKEN`",
                "Bearer",
            )
        needed = required_scope(method)
        if not caller.scope.includes(needed):
            return _refuse(
                403,
                "missing_scope",
                f"the token has the scope {caller.scope}; {method} needs {needed}: use a token that has it",
                f'Bearer error="insufficient_scope", scope="{needed}"',
            )
        return caller


def caller_of(request: Request) -> Caller:
    """Return who sent a request, which `AccessMiddleware` has let pass."""
    return request.state.caller


def _refuse(status: int, code: str, message: str, challenge: str) -> JSONResponse:
    answer = error_answer(status, code, message)
    answer.headers["WWW-Authenticate"] = challenge
    return answer


def is_local(host: str, origin: str | None) -> bool:
    """Return whether `host` is a name of loopback, and `origin`, unless None, a page of the same host."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        page = host if origin is None else urlsplit(origin).netloc
    except ValueError:
        return False
    return page.lower() == host.lower() and is_loopback(name)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address; a name other than localhost counts as public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
