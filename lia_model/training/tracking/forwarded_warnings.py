"""Passes warnings of our own code in a worker on to the run's journal, from which they reach the user.

Ray keeps what workers log in files of their own machines.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lia_model.training.tracking.run_logger import Journal

PACKAGES = ("lia_model", "preprocessing")


@contextmanager
def forwarded_warnings(journal: Journal) -> Iterator[None]:
    """Note in the journal what our packages log at warning level or above inside the block."""
    handler = _Forwarder(journal)
    loggers = [logging.getLogger(name) for name in PACKAGES]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _Forwarder(logging.Handler):
    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.add_warning(self.format(record))
