import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request

from lia_model.serving.errors import add_error_handlers
from lia_model.serving.http.body_limits import MAX_TEXT_BYTES, BodyMiddleware, time_left_s
from tests.lia_model.serving.service import REQUESTS, Service, assert_refused

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
    api.add_middleware(BodyMiddleware, max_body_bytes=MAX_BODY_BYTES, limits=REQUESTS)
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


def test_a_pause_is_as_long_as_allowed_however_fast_the_body_came():
    limits = REQUESTS.model_copy(update={"max_pause_s": 20, "min_bytes_per_s": 1000})
    assert time_left_s(0, 0, limits) == 20
    assert time_left_s(1, 10**9, limits) == 20
    assert time_left_s(19, 0, limits) == 1
    assert time_left_s(25, 0, limits) == 0


def test_a_steady_body_is_received_to_its_end_and_a_slower_one_is_not():
    limits = REQUESTS.model_copy(update={"max_pause_s": 20, "min_bytes_per_s": 1000})
    for bytes_per_s, is_received in ((1000, True), (900, False)):
        left = [time_left_s(elapsed_s, elapsed_s * bytes_per_s, limits) for elapsed_s in range(1000)]
        assert (min(left) >= 1) == is_received


@pytest.mark.parametrize(
    ("kind", "most"), [("application/json", MAX_TEXT_BYTES), ("multipart/form-data; boundary=x", 10**9)]
)
def test_a_body_without_files_has_a_smaller_limit(tmp_path, kind, most):
    service = Service(tmp_path, max_upload_bytes=10**9)
    for length, is_refused in ((most, False), (most + 1, True)):
        headers = {"Content-Type": kind, "Content-Length": str(length)}
        answer = service.ask("POST", "/v1/batches", content=b"", headers=headers)
        assert (answer.status_code == 413) == is_refused
        assert (str(most) in answer.text) == is_refused
