"""What a terminal shows of Prefect's log lines when a run fails by an outage or an error of the operator's.

Prefect logs the error with its traceback in the task and again in the flow, while the command itself ends
with one line on it. Both become that line, which Prefect's page shows with the run, and the terminal shows it
once.
"""

import logging
from collections.abc import Callable

_RUNS = ("prefect.flow_runs", "prefect.task_runs")
_EVENTS = "prefect.events.clients"
_SERVICES = "prefect._internal.concurrency"
"""Threads that send logs and events, and log the whole of an event that they could not send."""
_NO_CONNECTION = "[Errno"
"""In the warning about a server of events that does not answer; other warnings of that logger stay."""
_UNFINISHED = "Finished in state Pending"
"""Beginning of Prefect's advice on tasks that were not waited for, also given when its server fails."""

Explain = Callable[[BaseException], str | None]


class _Explained(logging.Filter):
    """Replaces the traceback of an error by its one line, where there is one."""

    def __init__(self, explain: Explain) -> None:
        super().__init__()
        self._explain = explain

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        line = None if error is None else self._explain(error)
        if line is not None:
            record.msg, record.args, record.exc_info = line, (), None
            record.is_told_at_end = True
        return not record.getMessage().startswith(_UNFINISHED)


def _is_shown(record: logging.LogRecord) -> bool:
    return not getattr(record, "is_told_at_end", False)


def _is_critical(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL


def _is_no_outage(record: logging.LogRecord) -> bool:
    return _NO_CONNECTION not in record.getMessage()


def shorten_failures(explain: Explain) -> None:
    """Let Prefect's lines on a failure that `explain` knows be one line, which the terminal leaves out.

    Args:
        explain: returns the one line that the command ends with; None for a bug, whose traceback stays.
    """
    for name in _RUNS:
        logging.getLogger(name).addFilter(_Explained(explain))
    logging.getLogger(_EVENTS).addFilter(_is_no_outage)
    # Not their levels, which Prefect sets anew when it is imported.
    logging.getLogger(_SERVICES).addFilter(_is_critical)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_shown)
    # Else the thread that sends log lines writes to stderr, past logging, that it cannot.
    logging.raiseExceptions = False
