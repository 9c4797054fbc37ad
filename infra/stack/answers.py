"""Whether a server on loopback answers."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

_TIMEOUT_S = 5


def answer_of(
    url: str, headers: Mapping[str, str] | None = None, body: Mapping[str, object] | None = None
) -> bytes:
    """Return the body of a GET, or of a POST of `body` as JSON; no proxy is used.

    Raises:
        OSError: the server does not answer, or with an error.
    """
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json", **(headers or {})})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_TIMEOUT_S) as answer:
        return answer.read()


def json_of(
    url: str, headers: Mapping[str, str] | None = None, body: Mapping[str, object] | None = None
) -> Any:  # noqa: ANN401 - whatever the server sends
    """Return `answer_of` as JSON.

    Raises:
        OSError: the server does not answer, or with an error.
    """
    return json.loads(answer_of(url, headers, body))


def is_answering(url: str) -> bool:
    """Return whether a GET succeeds."""
    try:
        answer_of(url)
    except OSError:
        return False
    return True
