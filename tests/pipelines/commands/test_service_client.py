import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.commands import service_client
from pipelines.commands.service_client import NoServiceError, RefusedError, ServiceClient
from tests.ports import free_port


@pytest.fixture
def server():
    """Answers each path in its own way, and keeps the headers of the last request."""
    answers = {
        "/ok": (200, b'{"fine": true}'),
        "/full": (429, b'{"error": {"code": "queue_full", "message": "try again later"}}'),
        "/broken": (500, b"<html>"),
        "/text": (200, b"hello"),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.seen = self.headers
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 429:
                self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint(server):
    return f"http://127.0.0.1:{server.server_port}/"


def test_the_answer_is_json_and_the_token_is_sent(server, endpoint):
    assert ServiceClient(endpoint, "s3cret").request("GET", "/ok") == {"fine": True}
    assert server.seen["Authorization"] == "Bearer s3cret"
    ServiceClient(endpoint, None).request("GET", "/ok")
    assert "Authorization" not in server.seen


@pytest.mark.parametrize(
    ("path", "status", "words", "pause_s"),
    [("/full", 429, "try again later", 3.0), ("/broken", 500, "HTTP 500 Internal Server Error", None)],
)
def test_an_error_has_the_words_of_the_service_and_its_pause(endpoint, path, status, words, pause_s):
    with pytest.raises(RefusedError, match=words) as error:
        ServiceClient(endpoint, None).request("GET", path)
    assert (error.value.status, error.value.retry_after_s) == (status, pause_s)


def test_an_answer_that_is_not_json_is_not_our_service(endpoint):
    with pytest.raises(NoServiceError, match="lia serve"):
        ServiceClient(endpoint, None).request("GET", "/text")


def test_a_proxy_is_not_used_for_loopback(endpoint, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ServiceClient(endpoint, None).request("GET", "/ok") == {"fine": True}


def test_a_service_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(service_client, "PATIENCE_S", 0.3)
    monkeypatch.setattr(service_client, "RECONNECT_S", 0.1)
    with pytest.raises(NoServiceError, match="lia serve"):
        ServiceClient(f"http://127.0.0.1:{free_port()}", None).request_patiently("GET", "/ok")


def test_other_refusals_are_not_repeated(endpoint, server):
    assert ServiceClient(endpoint, None).request_patiently("GET", "/ok") == {"fine": True}
    with pytest.raises(RefusedError, match="500"):
        ServiceClient(endpoint, None).request_patiently("GET", "/broken")
