"""A client of the animation service: JSON over HTTP, and refusals as exceptions."""

import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from lia_model.serving.messages import PROJECT_HEADER, project_mark

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 60
PATIENCE_S = 300.0
"""How long a service may be away, as it is when it restarts, before a client gives up."""
RECONNECT_S = 1.0
"""Pause before a service that is away is asked again."""
UNAVAILABLE = 503


class NoServiceError(Exception):
    """No animation service answers at the endpoint, or it refuses every request."""


class RefusedError(Exception):
    """The service answered a request with an error.

    Args:
        status: HTTP status.
        message: the service's own words.
        retry_after_s: pause that the service suggests; None if it suggests none.
    """

    def __init__(self, status: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ServiceClient:
    """A client of the service at `endpoint`, which sends `token` if there is one.

    Loopback is never reached through a proxy.
    """

    def __init__(self, endpoint: str, token: str | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        is_local = urllib.parse.urlsplit(endpoint).hostname in LOOPBACK
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the JSON of the answer.

        Raises:
            RefusedError: the service answers with an HTTP error.
            NoServiceError: no service answers, or not with JSON.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(self._endpoint + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silence(error) from None

    def request_patiently(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request again for as long as the service is full, and for a while if it is away.

        Use it only where sending a request twice does no harm.

        Raises:
            RefusedError: the service answers with another error.
            NoServiceError: the service has been away for `PATIENCE_S`.
        """
        deadline_s: float | None = None
        while True:
            try:
                return self.request(method, path, body)
            except RefusedError as error:
                if error.retry_after_s is not None:
                    time.sleep(error.retry_after_s)
                    continue
                if error.status != UNAVAILABLE:
                    raise
                failure = NoServiceError(str(error))
            except NoServiceError as error:
                failure = error
            if deadline_s is None:
                logger.warning("%s; trying again for %g s", failure, PATIENCE_S)
                deadline_s = time.monotonic() + PATIENCE_S
            if time.monotonic() > deadline_s:
                raise failure
            time.sleep(RECONNECT_S)

    def is_of(self, root: Path) -> bool:
        """Return whether the service may be that of the project at `root`: it does not name another one.

        Raises:
            NoServiceError: no service answers.
        """
        return self._project_mark() in (None, project_mark(root))

    def require_answer(self) -> None:
        """Require that a service answers, healthy or not.

        Raises:
            NoServiceError: none does.
        """
        self._project_mark()

    def _project_mark(self) -> str | None:
        try:
            with self._opener.open(f"{self._endpoint}/healthz", timeout=TIMEOUT_S) as answer:
                return answer.headers.get(PROJECT_HEADER)
        except urllib.error.HTTPError as error:
            with error:
                return error.headers.get(PROJECT_HEADER)
        except (OSError, http.client.HTTPException) as error:
            raise self._silence(error) from None

    def _silence(self, error: Exception) -> NoServiceError:
        return NoServiceError(
            f"got no answer from an animation service at {self._endpoint} ({error}): start one with "
            "`lia serve`, or give another URL with --endpoint"
        )


def _refusal(error: urllib.error.HTTPError) -> RefusedError:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {error.code} {error.reason}"
    retry_after = error.headers.get("Retry-After", "")
    return RefusedError(error.code, message, float(retry_after) if retry_after.isdecimal() else None)
