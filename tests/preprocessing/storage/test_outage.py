"""What is waited for and what is not; a real outage is in test_patient_files."""

import errno
import os

import pytest

from preprocessing.storage import outage
from preprocessing.storage.outage import StoreError, patiently


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(outage, "RETRY_S", 0.01)


class EndpointConnectionError(Exception):
    """As botocore's, which is no OSError."""


class NoCredentialsError(Exception):
    """As botocore's."""


class Store:
    """Fails with each of the given errors before it stores."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.num_calls = 0

    def put(self):
        self.num_calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "stored"


def of_number(number):
    return OSError(number, os.strerror(number))


def caused_by(error):
    wrapped = StoreError("got it")
    wrapped.__cause__ = error
    return wrapped


def test_a_store_that_comes_back_is_waited_for_and_that_is_told_twice(caplog):
    errors = [of_number(errno.ECONNREFUSED), EndpointConnectionError("no\nway"), of_number(errno.EIO)]
    store = Store(*errors, caused_by(EndpointConnectionError()))
    assert patiently(store.put, "checkpoint_1") == "stored"
    assert store.num_calls == 5
    first, last = caplog.messages
    assert first.startswith("the store is down (checkpoint_1: ConnectionRefusedError: [Errno 111]")
    assert last.startswith("the store is back after 0 s (checkpoint_1)")


def test_a_store_that_stays_down_is_an_error_of_one_line_in_the_end():
    store = Store(*[EndpointConnectionError("no\nway")] * 1000)
    with pytest.raises(
        TimeoutError, match=r"was down for 0 s \(checkpoint_1: EndpointConnectionError: no way"
    ):
        patiently(store.put, "checkpoint_1", patience_s=0.05)


@pytest.mark.parametrize(
    "error",
    [
        of_number(errno.ENOSPC),
        FileNotFoundError("a"),
        PermissionError("a"),
        NoCredentialsError("a"),
        caused_by(FileNotFoundError("a")),
        TypeError("a"),
    ],
)
def test_what_would_fail_again_is_an_error_at_once(error):
    store = Store(error)
    with pytest.raises(type(error)):
        patiently(store.put, "checkpoint_1")
    assert store.num_calls == 1
