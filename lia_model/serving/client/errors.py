"""Errors of the service's client."""

import httpx
from pydantic import ValidationError

from lia_model.serving.messages import AnimationStatus, ErrorAnswer, JobStatus


class NoServiceError(Exception):
    """No animation service answers at the endpoint, or it refuses every request."""


class RefusedError(Exception):
    """The service answered a request with an error.

    Args:
        status: HTTP status.
        code: the service's word for programs, such as `queue_full`; empty if it gave none.
        message: the service's own words.
        retry_after_s: pause that the service suggests; None if it suggests none.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class AnimationFailedError(Exception):
    """The animation has failed or was cancelled.

    Args:
        status: its last status, with the error's code and message.
    """

    def __init__(self, status: AnimationStatus) -> None:
        verb = "was" if status.status is JobStatus.CANCELLED else "has"
        reason = "" if status.error is None else f" ({status.error.code}): {status.error.message}"
        super().__init__(f"the animation {status.id} {verb} {status.status}{reason}")
        self.status = status
        self.code = "" if status.error is None else status.error.code


class NotYetError(TimeoutError):
    """The animation has not ended in the time given; it goes on.

    Args:
        job_id: of the animation.
        timeout_s: the time given.
    """

    def __init__(self, job_id: str, timeout_s: float) -> None:
        super().__init__(
            f"the animation {job_id} has not ended after {timeout_s:g} s; wait longer or cancel it"
        )
        self.job_id = job_id


def refusal_of(answer: httpx.Response) -> RefusedError:
    """Return the error that an answer with a status of 400 or more stands for."""
    retry_after = answer.headers.get("Retry-After", "")
    pause_s = float(retry_after) if retry_after.isdecimal() else None
    try:
        error = ErrorAnswer.model_validate_json(answer.content, extra="ignore").error
    except ValidationError:
        return RefusedError(
            answer.status_code, "", f"HTTP {answer.status_code} {answer.reason_phrase}", pause_s
        )
    return RefusedError(answer.status_code, error.code, error.message, pause_s)
