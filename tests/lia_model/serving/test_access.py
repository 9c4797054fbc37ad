import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request

from lia_model.serving.access import OPEN_PATHS, AccessMiddleware
from lia_model.serving.errors import add_error_handlers
from tests.lia_model.serving.service import Service, assert_refused

MAX_BODY_BYTES = 10


def ask(api, method="POST", path="/", **request):
    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://service") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def in_pieces(num_bytes, piece_bytes):
    """Send a body without declaring its length."""

    async def pieces():
        for start in range(0, num_bytes, piece_bytes):
            yield b"x" * min(piece_bytes, num_bytes - start)

    return pieces()


@pytest.fixture
def measured():
    """An application that answers with the length of the body, and the lengths it has read."""
    api, read = FastAPI(), []

    @api.post("/")
    async def measure(request: Request) -> int:
        read.append(len(await request.body()))
        return read[-1]

    add_error_handlers(api)
    api.add_middleware(AccessMiddleware, token=None, max_body_bytes=MAX_BODY_BYTES)
    return api, read


@pytest.mark.parametrize("num_bytes", [0, 1, MAX_BODY_BYTES - 1, MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 25])
def test_a_body_is_read_exactly_if_it_is_within_the_limit(measured, num_bytes):
    api, read = measured
    bodies = [b"x" * num_bytes, *(in_pieces(num_bytes, piece_bytes) for piece_bytes in (1, 3, 50))]
    for body in bodies:
        answer = ask(api, content=body)
        if num_bytes <= MAX_BODY_BYTES:
            assert (answer.status_code, answer.json()) == (200, num_bytes)
        else:
            assert_refused(answer, 413, "too_large", str(MAX_BODY_BYTES))
    assert read == ([num_bytes] * len(bodies) if num_bytes <= MAX_BODY_BYTES else [])


def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(measured):
    api, _ = measured
    sent = []

    async def body():
        sent.append("a piece")
        yield b"x"

    too_long = {"Content-Length": str(MAX_BODY_BYTES + 1)}
    assert_refused(ask(api, content=body(), headers=too_long), 413, "too_large")
    assert sent == []


def test_a_declared_length_does_not_replace_the_count(measured):
    api, _ = measured
    for declared in ("1", "-5", "many", "²"):
        headers = {"Content-Length": declared.encode("latin-1")}
        assert_refused(ask(api, content=in_pieces(25, 3), headers=headers), 413, "too_large")


def test_every_upload_path_has_the_limit(tmp_path):
    service = Service(tmp_path, max_upload_bytes=5_000)
    large = ("a.png", b"x" * 6_000)
    assert_refused(service.post(source=large), 413, "too_large", "5000")
    request = httpx.Request("POST", "http://service/v1/animations", files={"source": large})
    body = request.read()

    async def pieces():
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    headers = {"Content-Type": request.headers["content-type"]}
    assert_refused(service.ask("POST", "/v1/animations", content=pieces(), headers=headers), 413, "too_large")
    assert_refused(service.ask("POST", "/v1/batches", content=pieces()), 413, "too_large")
    assert service.jobs.num_queued() == 0


PATHS = ("/v1/models", "/openapi.json", "/v1/animations/a", "/nowhere", "/healthz/")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"s3cret",
        b"Bearer",
        b"Bearer other",
        b"Bearer s3cre",
        b"Bearer s3cret2",
        b"Bearer S3CRET",
        b"Basic s3cret",
        "Bearer é".encode(),
    ],
)
def test_without_the_token_only_the_open_paths_answer(tmp_path, authorization):
    service = Service(tmp_path, token="s3cret")
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in PATHS:
        answer = service.ask("GET", path, headers=headers)
        assert_refused(answer, 401, "unauthorized", "Authorization: Bearer TOKEN")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for path in OPEN_PATHS:
        assert service.ask("GET", path, headers=headers).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_the_token_opens_every_path(tmp_path, authorization):
    service = Service(tmp_path, token="s3cret")
    headers = {"Authorization": authorization}
    assert service.ask("GET", "/v1/models", headers=headers).status_code == 200
    assert_refused(service.ask("GET", "/v1/animations/a", headers=headers), 404, "not_found")


def test_a_token_of_other_letters_than_ascii_is_compared_too(tmp_path):
    service = Service(tmp_path, token="clé à")
    right, wrong = ({"Authorization": f"Bearer {token}".encode()} for token in ("clé à", "cle a"))
    assert_refused(service.ask("GET", "/v1/models", headers=wrong), 401, "unauthorized")
    assert service.ask("GET", "/v1/models", headers=right).status_code == 200


def test_a_forged_host_header_opens_no_path(tmp_path):
    service = Service(tmp_path, token="s3cret")
    forged = {"Host": "service/healthz?"}
    assert_refused(service.ask("GET", "/v1/models", headers=forged), 401, "unauthorized")


def test_without_a_configured_token_every_path_is_open(service):
    assert service.ask("GET", "/v1/models", headers={"Authorization": "Bearer any"}).status_code == 200


def test_what_is_no_http_request_needs_no_token():
    """A server starts and stops the application by messages of the type lifespan."""
    passed = []

    async def application(scope, receive, send):
        passed.append((scope, receive, send))

    parts = ({"type": "lifespan"}, object(), object())
    asyncio.run(AccessMiddleware(application, token="s3cret", max_body_bytes=1)(*parts))
    assert passed == [parts]
