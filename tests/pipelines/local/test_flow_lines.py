"""What a terminal and Prefect's page show when a run fails, from the loggers that Prefect uses."""

import io
import logging

import pytest

from pipelines.cli import explain
from pipelines.local.flow_lines import shorten_failures
from preprocessing.storage.outage import StoreError


class Kept(logging.Handler):
    """As Prefect's handler, which sends what a run's logger gets to its server."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


NAMES = ("prefect.flow_runs", "prefect.task_runs", "prefect.events.clients", "prefect._internal.concurrency")


@pytest.fixture
def terminal(monkeypatch):
    """What the terminal shows."""
    root, terminal = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(terminal)])
    for name in NAMES:
        logger = logging.getLogger(name)
        for attribute, value in (("filters", []), ("handlers", []), ("propagate", True), ("disabled", False)):
            monkeypatch.setattr(logger, attribute, value)
    shorten_failures(explain)
    return terminal


@pytest.fixture
def page(terminal):
    """What Prefect's page shows of tasks."""
    handler = Kept()
    logging.getLogger("prefect.task_runs").addHandler(handler)
    return handler.lines


def fail(error):
    try:
        raise error
    except type(error):
        logging.getLogger("prefect.task_runs").exception("Task run failed with exception: %r", error)


@pytest.mark.parametrize("error", [StoreError("got no answer\nfrom the store"), ValueError("got\n1")])
def test_an_error_of_the_operators_is_one_line_on_the_page_and_none_on_the_terminal(terminal, page, error):
    fail(error)
    assert page == [" ".join(str(error).split())]
    assert terminal.getvalue() == ""


def test_a_bug_keeps_its_traceback_everywhere(terminal, page):
    fail(KeyError("a bug"))
    assert "Traceback" in terminal.getvalue()
    assert "Traceback" in page[0]


def test_what_a_server_that_is_gone_sets_off_is_left_out_and_other_lines_stay(terminal):
    events, services = logging.getLogger(NAMES[2]), logging.getLogger(NAMES[3])
    events.warning("Unable to connect to 'ws://a/'. Reason: [Errno 111] Connect call failed")
    services.error("Service %r failed to process item %r", "EventsWorker", {"a": "very long event"})
    logging.getLogger("prefect.task_runs").error("Finished in state Pending()\nPlease wait for all tasks")
    assert terminal.getvalue() == ""
    events.warning("Unable to connect: 403")
    logging.getLogger("prefect.flow_runs").error("Finished in state Failed()")
    assert terminal.getvalue().splitlines() == ["Unable to connect: 403", "Finished in state Failed()"]
