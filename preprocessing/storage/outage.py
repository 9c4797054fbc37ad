"""Errors of an object store, and waiting for one that is down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from preprocessing.storage.files import is_disk_error

PATIENCE_S = 900.0
"""How long a store may be down."""
RETRY_S = 5.0
# Beside the disk's own errors: they would come again.
_LASTING_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    NotImplementedError,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class StoreError(RuntimeError):
    """The store cannot be read or written; the cause is the error of its library."""


class StoreDownError(StoreError, TimeoutError):
    """The store was down for longer than it is waited for; for file systems it is an OSError."""


def patiently(call: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Return what `call` returns; call it again while the store is down.

    Libraries of stores have their own kinds of connection errors, so any error counts that is not known to
    come again.

    Args:
        call: may be repeated after it failed.
        what: is stored or read, for the log.
        patience_s: how long the store may be down.

    Raises:
        StoreDownError: it was down for longer.
        Exception: of `call`, if it would come again, such as that of a missing file or a full disk.
    """
    started_s, is_down = time.monotonic(), False
    while True:
        try:
            result = call()
        except Exception as error:
            if not _may_pass(error):
                raise
            waited_s = time.monotonic() - started_s
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            if waited_s > patience_s:
                raise StoreDownError(
                    f"the store was down for {waited_s:.0f} s ({what}: {reason}); run the command again when "
                    "it is back"
                ) from error
            if not is_down:
                log.warning("the store is down (%s: %s); trying for %.0f s", what, reason, patience_s)
            is_down = True
            time.sleep(RETRY_S)
        else:
            if is_down:
                log.warning("the store is back after %.0f s (%s)", time.monotonic() - started_s, what)
            return result


def _may_pass(error: BaseException) -> bool:
    """Return whether an error may be that of a store that is down."""
    if isinstance(error, StoreError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, _LASTING_ERRORS) or is_disk_error(error):
        return False
    # botocore has them as plain exceptions.
    return not type(error).__name__.endswith("CredentialsError")
