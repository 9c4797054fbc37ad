"""What a command says when Prefect's server does not answer, or refuses: from real requests of Prefect."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from pipelines.local.prefect_outage import explain_prefect_outage
from tests.ports import free_port


class _Refusing(BaseHTTPRequestHandler):
    """Answers as Prefect does to a wrong password."""

    def do_GET(self):
        self.refuse()

    def do_POST(self):
        self.refuse()

    def refuse(self):
        body = b'{"exception_message": "Unauthorized"}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing():
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    thread.join()
    server.server_close()


def failure_of_a_flow(url, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", url)

    @flow(name="nothing")
    def nothing():
        pass

    changed = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: "lia:s3cret"}
    with temporary_settings(changed), pytest.raises(Exception) as raised:  # noqa: PT011 - Prefect decides
        nothing()
    return raised.value


def test_a_server_that_is_down_is_one_line(monkeypatch):
    url = f"http://127.0.0.1:{free_port()}/api"
    assert explain_prefect_outage(failure_of_a_flow(url, monkeypatch)) == (
        f"Prefect at {url} fails (Connection refused): see that it runs, or correct LIA_PREFECT_API_URL, and "
        "run the command again"
    )


def test_a_wrong_password_is_one_line_with_its_variable_and_without_it(monkeypatch, refusing):
    assert explain_prefect_outage(failure_of_a_flow(refusing, monkeypatch)) == (
        f"Prefect at {refusing} refuses the request (401): set PREFECT_API_AUTH_STRING to USER:PASSWORD of "
        "an account there"
    )


def test_requests_to_others_are_not_explained(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    with pytest.raises(httpx.ConnectError) as raised:
        httpx.get(f"http://127.0.0.1:{free_port()}", trust_env=False)
    assert explain_prefect_outage(raised.value) is None
    assert explain_prefect_outage(RuntimeError("?")) is None
