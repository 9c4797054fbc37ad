"""The client itself: requests over HTTP, each sent again for as long as that may help."""

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from lia_model.animation.options import AnimationOptions
from lia_model.serving.client.errors import (
    AnimationFailedError,
    NoServiceError,
    NotYetError,
    RefusedError,
    refusal_of,
)
from lia_model.serving.messages import (
    PROJECT_HEADER,
    AnimationAccepted,
    AnimationList,
    AnimationStatus,
    BatchAccepted,
    BatchRequest,
    BatchStatus,
    JobStatus,
    Message,
    ModelList,
)
from preprocessing.correlation import CORRELATION_HEADER
from preprocessing.storage.files import write_atomically

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 60.0
AWAY_S = 300.0
"""How long a service may be away, as it is when it restarts, before a client gives up."""
RECONNECT_S = 1.0
"""Pause before a service that is away is asked again."""
POLL_S = 0.5
_TOO_MANY, _UNAVAILABLE = 429, 503
_Answer = TypeVar("_Answer", bound=Message)


class Client:
    """Talks to the service at `endpoint`, which is never reached through a proxy on loopback.

    Every method may raise a `RefusedError`, or a `NoServiceError` once the service has been away for `away_s`
    seconds. A request is sent again after a lost connection.

    Args:
        endpoint: URL of the service.
        token: bearer token; None sends none.
        away_s: how long to wait for a service that does not answer or is unavailable.
        full_s: how long to wait while it refuses requests for being full, in the steps that it asks for.
        correlation_id: of the work that the jobs are part of; None sends none.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        away_s: float = AWAY_S,
        full_s: float = math.inf,
        correlation_id: str | None = None,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._away_s, self._full_s = away_s, full_s
        headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
        if correlation_id is not None:
            headers.append((CORRELATION_HEADER.encode(), correlation_id.encode()))
        try:
            is_local = urlsplit(self.endpoint).hostname in LOOPBACK
            self._http = httpx.Client(
                base_url=self.endpoint, headers=headers, timeout=TIMEOUT_S, trust_env=not is_local
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise self._silence(error) from None

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        source: Path,
        driving: Path,
        options: AnimationOptions | None = None,
        model: str | None = None,
        priority: int = 0,
    ) -> AnimationAccepted:
        """Upload a portrait and a driving clip, and queue their animation; None are the defaults.

        Args:
            source: portrait.
            driving: clip.
            options: how.
            model: version or alias, such as `lia/3` or `lia@champion`.
            priority: from -100 to 100; of one's own uploads that wait, the highest starts first.

        A key tells the service when the request is sent again, so that it is animated once.
        """
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        chosen = {} if options is None else options.model_dump(mode="json", exclude_defaults=True)
        fields = {name: _as_text(value) for name, value in chosen.items()}
        if model is not None:
            fields["model"] = model
        if priority:
            fields["priority"] = str(priority)

        def send() -> httpx.Response:
            with ExitStack() as stack:
                files = {
                    name: (path.name, stack.enter_context(path.open("rb")))
                    for name, path in (("source", source), ("driving", driving))
                }
                return self._http.post("/v1/animations", data=fields, files=files, headers=headers)

        return self._parse(AnimationAccepted, self._patiently(send))

    def status(self, job_id: str) -> AnimationStatus:
        """Return the status of an animation."""
        return self._get(AnimationStatus, f"/v1/animations/{quote(job_id, safe='')}")

    def wait(
        self,
        job_id: str,
        on_progress: Callable[[AnimationStatus], object] | None = None,
        timeout_s: float = math.inf,
    ) -> AnimationStatus:
        """Wait until an animation has succeeded and return its status.

        Args:
            job_id: of the animation.
            on_progress: called with the status at first and whenever it changes.
            timeout_s: how long to wait.

        Raises:
            AnimationFailedError: it has failed or was cancelled.
            NotYetError: it has not ended within `timeout_s`.
        """
        deadline_s = time.monotonic() + timeout_s
        told = None
        while True:
            status = self.status(job_id)
            if on_progress is not None and status != told:
                on_progress(status)
                told = status
            if status.status is JobStatus.SUCCEEDED:
                return status
            if status.status.is_final:
                raise AnimationFailedError(status)
            if time.monotonic() >= deadline_s:
                raise NotYetError(job_id, timeout_s)
            time.sleep(POLL_S)

    def download(self, job_id: str, path: Path) -> None:
        """Write the video of an animation that has succeeded to `path`, which appears when it is complete."""
        with write_atomically(path) as partial:

            def send() -> httpx.Response:
                url = f"/v1/animations/{quote(job_id, safe='')}/video"
                with self._http.stream("GET", url) as answer, partial.open("wb") as file:
                    if answer.is_error:
                        answer.read()
                        return answer
                    for piece in answer.iter_bytes():
                        file.write(piece)
                return answer

            self._patiently(send)

    def list_newest(self, status: JobStatus | None = None, page_size: int = 50) -> Iterator[AnimationStatus]:
        """Yield one's own animations, the newest first: those of one status; None is any."""
        url = f"/v1/animations?limit={page_size}" + ("" if status is None else f"&status={status}")
        while True:
            page = self._get(AnimationList, url)
            yield from page.animations
            if page.next is None:
                return
            url = page.next

    def cancel(self, job_id: str) -> None:
        """Cancel an animation that has not ended; remove one that has."""
        self._patiently(lambda: self._http.delete(f"/v1/animations/{quote(job_id, safe='')}"))

    def submit_batch(self, request: BatchRequest) -> BatchAccepted:
        """Queue a batch of files on the server's disk.

        After a lost connection it is sent again, which animates items without an idempotency key twice.
        """
        body = request.model_dump(mode="json", exclude_none=True)
        return self._parse(BatchAccepted, self._patiently(lambda: self._http.post("/v1/batches", json=body)))

    def batch_status(self, batch_id: str) -> BatchStatus:
        """Return the status of a batch and of its items."""
        return self._get(BatchStatus, f"/v1/batches/{quote(batch_id, safe='')}")

    def models(self) -> ModelList:
        """Return the models that the service animates with."""
        return self._get(ModelList, "/v1/models")

    def project(self) -> str | None:
        """Return the mark of the service's project, if it names one; it is asked once, healthy or not.

        Raises:
            NoServiceError: no service answers.
        """
        try:
            return self._http.get("/healthz").headers.get(PROJECT_HEADER)
        except httpx.HTTPError as error:
            raise self._silence(error) from None

    def _get(self, kind: type[_Answer], url: str) -> _Answer:
        return self._parse(kind, self._patiently(lambda: self._http.get(url)))

    def _parse(self, kind: type[_Answer], answer: httpx.Response) -> _Answer:
        try:
            # A newer service may say more than this client knows.
            return kind.model_validate_json(answer.content, extra="ignore")
        except ValidationError:
            raise self._silence("its answer is not that of an animation service") from None

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Return the answer of a request, sent again for as long as the service is full or away."""
        patience = _Patience(self._away_s, self._full_s)
        while True:
            try:
                answer = send()
            except (httpx.TransportError, httpx.InvalidURL) as error:
                failure = self._silence(error)
            else:
                if not answer.is_error:
                    return answer
                failure = refusal_of(answer)
            patience.pause_after(failure)

    def _silence(self, error: object) -> NoServiceError:
        return NoServiceError(
            f"got no answer from an animation service at {self.endpoint} ({error}): start one with "
            "`lia serve`, or give another URL"
        )


class _Patience:
    """Pauses between the attempts of one request, until it is given up."""

    def __init__(self, away_s: float, full_s: float) -> None:
        self._away_s = away_s
        self._full_until_s = time.monotonic() + full_s
        self._away_until_s: float | None = None

    def pause_after(self, failure: RefusedError | NoServiceError) -> None:
        """Wait as long as the failure suggests, or raise it."""
        if isinstance(failure, RefusedError):
            if failure.status not in (_TOO_MANY, _UNAVAILABLE):
                raise failure
            if failure.retry_after_s is not None:
                if time.monotonic() + failure.retry_after_s > self._full_until_s:
                    raise failure
                time.sleep(failure.retry_after_s)
                return
        if self._away_until_s is None:
            self._away_until_s = time.monotonic() + self._away_s
            if self._away_s > 0:
                logger.warning("%s; trying again for %g s", failure, self._away_s)
        if time.monotonic() >= self._away_until_s:
            raise failure
        time.sleep(RECONNECT_S)


def _as_text(value: Any) -> str:  # noqa: ANN401 - one of each option's type
    return str(value).lower() if isinstance(value, bool) else str(value)
