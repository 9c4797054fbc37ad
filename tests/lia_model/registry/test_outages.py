"""What a command says when MLflow does not answer, or refuses: from real requests."""

import socket
import threading

import mlflow
import pytest

from lia_model.registry import aliases
from lia_model.registry.outages import explain_outage, reason_of
from lia_model.registry.runs import Run
from tests.ports import free_port
from tests.refusing_server import refusing_server


@pytest.fixture
def refusing():
    """URL, with a password, of a server that answers as MLflow does to wrong credentials."""
    body = b"You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth"
    with refusing_server(401, {"WWW-Authenticate": 'Basic realm="mlflow"'}, body) as address:
        yield f"http://user:s3cret@{address}"


@pytest.fixture
def silent():
    """Address of a server that closes every connection without a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_all():
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=close_all)
        thread.start()
        yield f"http://user:s3cret@127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def at(monkeypatch):
    """Function that points MLflow's client at an address."""
    before = mlflow.get_tracking_uri()

    def point(uri):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)

    yield point
    mlflow.set_tracking_uri(before)


def failure(ask):
    with pytest.raises(mlflow.MlflowException) as raised:
        ask()
    return raised.value


def test_an_outage_is_no_missing_alias_and_no_run_without_sources(at):
    address = f"127.0.0.1:{free_port()}"
    at(f"http://user:s3cret@{address}")
    for ask in (lambda: aliases.version_of("lia", "champion"), lambda: Run("f" * 32).source_keys()):
        error = failure(ask)
        # What the service logs; MLflow's own message holds those of three libraries.
        assert reason_of(error) == "Connection refused"
        assert explain_outage(error) == (
            f"MLflow at http://{address} fails (Connection refused): see that it runs, or correct "
            "LIA_MLFLOW_TRACKING_URI, and run the command again"
        )


def test_an_answer_that_is_no_answer_is_told_without_the_password(at, silent):
    at(silent)
    line = explain_outage(failure(lambda: aliases.version_of("lia", "champion")))
    assert line.startswith("MLflow at http://127.0.0.1:")
    assert "fails (" in line
    # MLflow repeats the whole address in its message.
    assert "s3cret" not in line
    assert "\n" not in line


def test_wrong_credentials_are_told_with_the_variables_that_hold_them(at, refusing):
    at(refusing)
    line = explain_outage(failure(lambda: aliases.version_of("lia", "champion")))
    assert line.startswith("MLflow at http://127.0.0.1:")
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
    assert "s3cret" not in line
    assert "\n" not in line


def test_what_mlflow_does_not_have_is_no_outage(store):
    assert aliases.version_of("nobody", "champion") is None
    assert Run("f" * 32).source_keys() == set()


def test_other_errors_are_not_explained():
    assert explain_outage(RuntimeError("?")) is None
