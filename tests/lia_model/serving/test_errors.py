import asyncio
import logging

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from lia_model.serving.database import DatabaseBusyError
from lia_model.serving.errors import (
    CODES,
    RefusalError,
    add_error_handlers,
    bad_field,
    error_answer,
    refusals,
)
from lia_model.serving.messages import ErrorAnswer
from tests.lia_model.serving.service import assert_refused


class Pair(BaseModel):
    left: int
    right: int


def answer_to(error=None, **request):
    """Answer a request whose handler raises `error`, or takes a `Pair`."""
    api = FastAPI()

    @api.get("/")
    def fail() -> None:
        assert error is not None
        raise error

    @api.post("/")
    def take(pair: Pair) -> None:
        del pair

    add_error_handlers(api)

    async def send():
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request("GET" if error else "POST", "/", **request)

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RefusalError(418, "teapot", "no coffee"), 418, "teapot"),
        (bad_field("mode", "no coffee"), 422, "bad_field"),
        *((HTTPException(status, "no coffee"), status, code) for status, code in CODES.items()),
        (HTTPException(409, "no coffee"), 409, "bad_request"),
    ],
)
def test_an_error_keeps_its_status_and_message(error, status, code):
    assert_refused(answer_to(error), status, code, "no coffee")


@pytest.mark.parametrize("kind", [RefusalError, HTTPException])
def test_an_error_brings_its_headers_along(kind):
    headers = {"Retry-After": "5", "X-Other": "a"}
    arguments = (429, "busy", "later", headers) if kind is RefusalError else (429, "later", headers)
    answer = answer_to(kind(*arguments))
    assert {name: answer.headers[name] for name in headers} == headers
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("error", [KeyError("s3cret"), RuntimeError("s3cret"), AssertionError("s3cret")])
def test_an_unexpected_error_is_answered_without_its_details(error, caplog):
    with caplog.at_level(logging.ERROR):
        answer = answer_to(error)
    assert_refused(answer, 500, "internal", "log")
    assert "s3cret" not in answer.text
    assert "GET / failed unexpectedly" in caplog.messages


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"left": 1}', "right: Field required"),
        ('{"left": 1, "right": "x"}', "right: Input should be a valid integer"),
        ("{}", "left: Field required; right: Field required"),
        ("[]", "body: Input should be a valid dictionary"),
        ("", "body: Field required"),
        ('{"left": 1,', "body: it is not JSON"),
    ],
)
def test_every_wrong_field_of_a_body_is_named(body, message):
    answer = answer_to(content=body, headers={"Content-Type": "application/json"})
    assert_refused(answer, 422, "bad_field", message)


def test_broken_json_is_answered_with_the_place(service):
    answer = service.ask(
        "POST", "/v1/batches", content='{"items": [1,,]}', headers={"Content-Type": "application/json"}
    )
    assert_refused(answer, 422, "bad_field", "at character 13")


def test_an_error_answer_is_a_message_of_the_schema():
    answer = error_answer(400, "bad", "it is bad")
    assert answer.status_code == 400
    read = ErrorAnswer.model_validate_json(answer.body)
    assert (read.error.code, read.error.message) == ("bad", "it is bad")


def test_the_schema_lists_each_refusal_as_an_error_answer(service):
    assert refusals() == {}
    assert refusals(404, 409) == {404: {"model": ErrorAnswer}, 409: {"model": ErrorAnswer}}
    paths = service.ask("GET", "/openapi.json").json()["paths"]
    answers = paths["/v1/animations/{job_id}/video"]["get"]["responses"]
    for status in ("401", "404", "409"):
        shape = answers[status]["content"]["application/json"]["schema"]
        assert shape == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_a_broken_form_is_refused_in_json(service):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.ask("POST", "/v1/animations", content=b"--y\r\n", headers=headers)
    assert_refused(answer, 400, "bad_request")


def test_unknown_paths_and_methods_are_refused_in_json(service):
    assert_refused(service.ask("GET", "/nowhere"), 404, "not_found")
    refused = service.ask("PUT", "/v1/animations")
    assert_refused(refused, 405, "method_not_allowed")
    assert refused.headers["Allow"] == "POST"


def test_a_busy_job_store_asks_the_client_to_try_again():
    assert_refused(answer_to(DatabaseBusyError("held")), 503, "busy")
