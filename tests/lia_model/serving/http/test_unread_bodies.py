"""Answers that come before the end of a request's body, over a real connection."""

import socket
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lia_model.serving.http import unread_bodies
from lia_model.serving.http.unread_bodies import UnreadBodyMiddleware
from tests.lia_model.serving.live import served

SIZE = 1000


@pytest.fixture
def connect(monkeypatch):
    """A function that connects to an application with one path that reads bodies and one that does not."""
    monkeypatch.setattr(unread_bodies, "MAX_DRAIN_S", 0.5)

    async def read(request):
        return PlainTextResponse(f"read {len(await request.body())}")

    async def refuse(_):
        return PlainTextResponse("refused", 413)

    routes = [Route(f"/{handler.__name__}", handler, methods=["POST", "GET"]) for handler in (read, refuse)]
    with served(UnreadBodyMiddleware(Starlette(routes=routes))) as client:
        address = (client.base_url.host, client.base_url.port)
        yield lambda: socket.create_connection(address, timeout=10)


def ask(connection, path, sent, method="POST", declared=SIZE):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {declared}\r\n\r\n"
    connection.sendall(head.encode() + bytes(sent))


def answer(connection):
    """Read one answer whose body is as long as it declares, and return it."""
    reader = connection.makefile("rb")
    head = b"".join(iter(reader.readline, b"\r\n")).decode().lower()
    length = int(next(line for line in head.splitlines() if line.startswith("content-length")).split()[1])
    return head, reader.read(length).decode()


def test_a_connection_is_kept_if_the_body_was_read(connect):
    with connect() as connection:
        for path, method, size, text in (
            ("/read", "POST", SIZE, f"read {SIZE}"),
            ("/refuse", "GET", 0, "refused"),
        ):
            for _ in range(2):
                ask(connection, path, size, method, size)
                head, body = answer(connection)
                assert body == text
                assert "connection: close" not in head


def test_an_early_answer_comes_at_once_and_ends_the_connection(connect):
    with connect() as connection:
        ask(connection, "/refuse", 10)
        head, body = answer(connection)
        assert (body, "413" in head, "connection: close" in head) == ("refused", True, True)
        assert connection.recv(1) == b""


def test_a_client_that_sends_everything_before_it_reads_gets_the_answer(connect):
    size = unread_bodies.MAX_DRAIN_BYTES // 2
    with connect() as connection:
        ask(connection, "/refuse", size, declared=size)
        assert answer(connection)[1] == "refused"


def test_a_body_without_end_is_not_read_for_ever(connect):
    with connect() as connection:
        ask(connection, "/refuse", 0, declared=10**12)
        num_sent = 0
        with suppress(ConnectionError):
            while num_sent < 10**9:
                num_sent += connection.send(bytes(100_000))
        assert num_sent < 10 * unread_bodies.MAX_DRAIN_BYTES
