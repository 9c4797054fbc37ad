"""One id for all that a piece of work sets off, by which Prefect, Ray, MLflow and the service tell of it.

It travels in the variable `LIA_CORRELATION_ID` from a process to those that it starts, to Ray's tasks too,
and in a header from a client to the service.
"""

import uuid
from typing import Annotated

from pydantic import Field

CorrelationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""Letters, digits, dots, dashes and underscores, which need no quoting anywhere."""
CORRELATION_VARIABLE = "LIA_CORRELATION_ID"
CORRELATION_HEADER = "X-Correlation-ID"


def new_correlation_id() -> str:
    """Return an id for a new piece of work."""
    return str(uuid.uuid4())
