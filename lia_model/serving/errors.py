"""Error answers of the HTTP interface: each is JSON of the form `{"error": {"code", "message"}}`."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from lia_model.serving.database import DatabaseBusyError, DatabaseError
from lia_model.serving.messages import Error, ErrorAnswer
from preprocessing.storage.outage import StoreError

logger = logging.getLogger(__name__)

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    416: "bad_range",
}
"""Error code by HTTP status, for errors that FastAPI or Starlette raise."""


class RefusalError(Exception):
    """The request is refused; the application answers with this error.

    Args:
        status: HTTP status.
        code: fixed word for programs.
        message: one sentence for people.
        headers: additional headers of the answer; None adds none.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def add_error_handlers(api: FastAPI) -> None:
    """Make the application answer every error with an `ErrorAnswer`."""
    api.add_exception_handler(RefusalError, _on_refusal)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_field)
    api.add_exception_handler(DatabaseBusyError, _on_busy_store)
    api.add_exception_handler(DatabaseError, _on_broken_store)
    api.add_exception_handler(StoreError, _on_broken_media)
    api.add_exception_handler(Exception, _on_unexpected_error)


def error_answer(status: int, code: str, message: str) -> JSONResponse:
    """Return an answer whose body is an `ErrorAnswer`."""
    body = ErrorAnswer(error=Error(code=code, message=message))
    return JSONResponse(body.model_dump(), status)


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    answer = error_answer(error.status, error.code, error.message)
    answer.headers.update(error.headers or {})
    return answer


async def _on_busy_store(_: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return error_answer(503, "busy", "the job store is busy; try again")


async def _on_broken_store(_: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return error_answer(503, "unavailable", "the job store cannot be used; try again later")


async def _on_broken_media(_: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return error_answer(503, "unavailable", "the object store of the files cannot be used; try again later")


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    answer = error_answer(error.status_code, code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _on_bad_field(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_answer(422, "bad_field", "; ".join(_describe(one) for one in error.errors()))


def _describe(wrong: Mapping[str, Any]) -> str:
    """Return the path of a wrong field and what is wrong with it."""
    if wrong["type"] == "json_invalid":
        return f"body: it is not JSON ({wrong['ctx']['error']} at character {wrong['loc'][1]}); send JSON"
    path = ".".join(str(part) for part in wrong["loc"][1:])
    return f"{path or 'body'}: {str(wrong['msg']).removeprefix('Value error, ')}"


async def _on_unexpected_error(request: Request, _: Exception) -> Response:
    logger.error("%s %s failed unexpectedly", request.method, request.url.path)
    return error_answer(500, "internal", "the server failed unexpectedly; its log has the details")


def bad_field(field: str, message: str) -> RefusalError:
    """Return the error that refuses the value of one field."""
    return RefusalError(422, "bad_field", f"{field}: {message}")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI response entries for these error statuses."""
    return {status: {"model": ErrorAnswer} for status in statuses}
