import socket

import httpx
import pytest

from lia_model.serving.http.server import HttpServer
from tests.lia_model.serving.service import Service
from tests.ports import free_port


def test_a_taken_port_is_named_after_a_while(monkeypatch):
    monkeypatch.setattr("lia_model.serving.http.server.BIND_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} .*: stop the program that listens there"):
            HttpServer(Service, "127.0.0.1", port).start()


def test_a_stopped_server_frees_its_port_for_the_next(tmp_path):
    port = free_port()
    for _ in range(2):
        server = HttpServer(Service(tmp_path).api, "127.0.0.1", port)
        server.start()
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        server.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
