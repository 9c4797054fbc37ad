import errno
import os

import pytest

from lia_model.training.cluster import checkpoint_reporter
from lia_model.training.cluster.checkpoint_reporter import store_patiently


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(checkpoint_reporter, "RETRY_S", 0.01)


class Store:
    """Fails with each of the given errors before it stores."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.num_calls = 0

    def copy(self):
        self.num_calls += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))


def test_a_store_that_comes_back_gets_the_checkpoint_and_the_outage_is_told_once(caplog):
    store = Store(errno.ECONNREFUSED, errno.EIO, errno.ETIMEDOUT)
    store_patiently(store.copy, "checkpoint_1")
    assert store.num_calls == 4
    (line,) = caplog.messages
    assert line.startswith("checkpoint_1 cannot be stored ([Errno 111] Connection refused)")


def test_a_store_that_stays_down_is_an_error_in_the_end():
    with pytest.raises(ConnectionRefusedError):
        store_patiently(Store(*[errno.ECONNREFUSED] * 1000).copy, "checkpoint_1", patience_s=0.05)


def test_a_full_store_is_an_error_at_once():
    store = Store(errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        store_patiently(store.copy, "checkpoint_1")
    assert store.num_calls == 1
