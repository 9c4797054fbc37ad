"""Tells an answer of MLflow, that something does not exist, from an outage or a refusal.

MLflow itself repeats failed requests with growing pauses (MLFLOW_HTTP_REQUEST_MAX_RETRIES).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from preprocessing.download.credentials import mask_credentials

if TYPE_CHECKING:
    from mlflow import MlflowException

_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Error codes for an unknown run, model, version or alias."""
_REFUSED = (401, 403)
"""HTTP statuses."""


def is_missing(error: MlflowException) -> bool:
    """Return whether MLflow answered that the named thing does not exist."""
    return error.error_code in _MISSING


def explain_outage(error: BaseException) -> str | None:
    """Return one line on an error of MLflow's: what it is and what to do; None for another error."""
    if "mlflow.exceptions" not in sys.modules:
        return None
    from mlflow import MlflowException

    if not isinstance(error, MlflowException):
        return None
    reason = reason_of(error)
    where = _place(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if error.get_http_status_code() in _REFUSED:
        return (
            f"MLflow at {where} refuses the request ({reason}): set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD to an account that may do this"
        )
    return (
        f"MLflow at {where} fails ({reason}): see that it runs, or correct LIA_MLFLOW_TRACKING_URI, and run "
        "the command again"
    )


def system_reason(error: BaseException | None) -> str | None:
    """Return the system's own words, such as `Connection refused`, on which an error is based; None if none.

    MLflow's message holds those of three libraries, one in the other, and the address twice.
    """
    found = None
    while error is not None:
        if isinstance(error, OSError) and error.strerror is not None:
            # asyncio writes an address in its place.
            code = error.errno
            found = os.strerror(code) if code is not None and code in errno.errorcode else error.strerror
        error = error.__cause__ or error.__context__
    return found


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line: the system's own words, or the error's message.

    The user and the password of an address in the message are left out.
    """
    message = mask_credentials(" ".join(str(error).split()))
    return system_reason(error) or message or type(error).__name__


def _place(uri: str) -> str:
    """Return the address of a store without user and password."""
    parts = urlsplit(uri)
    return uri if parts.hostname is None else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
