"""What a command says when Prefect's server does not answer, or refuses: from real requests of Prefect."""

import httpx
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from pipelines.local.prefect_outage import explain_prefect_outage
from tests.ports import free_port
from tests.refusing_server import refusing_server


@pytest.fixture
def refusing():
    """URL of a server that answers as Prefect does to a wrong password."""
    body = b'{"exception_message": "Unauthorized"}'
    with refusing_server(401, {"Content-Type": "application/json"}, body) as address:
        yield f"http://{address}/api"


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
