"""Tells an outage of the Prefect server, or its refusal, from other errors, without importing Prefect."""

import os
import sys
from contextlib import suppress

from lia_model.registry.outages import system_reason
from preprocessing.download.credentials import mask_credentials

_REFUSED = (401, 403)
"""HTTP statuses."""


def explain_prefect_outage(error: BaseException | None) -> str | None:
    """Return one line on an error of a request to Prefect's server: what it is, and what to do.

    None for another error. Prefect itself repeats failed requests with growing pauses.
    """
    if "httpx" not in sys.modules:
        return None
    import httpx

    url = os.environ.get("PREFECT_API_URL", "")
    while error is not None:
        if isinstance(error, httpx.HTTPError) and url and _url_of(error).startswith(url):
            where = mask_credentials(url)
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _REFUSED:
                return (
                    f"Prefect at {where} refuses the request ({error.response.status_code}): set "
                    "PREFECT_API_AUTH_STRING to USER:PASSWORD of an account there"
                )
            reason = system_reason(error) or str(error).partition("\n")[0] or type(error).__name__
            return (
                f"Prefect at {where} fails ({mask_credentials(reason)}): see that it runs, or correct "
                "LIA_PREFECT_API_URL, and run the command again"
            )
        error = error.__cause__ or error.__context__
    return None


def _url_of(error: BaseException) -> str:
    # Without a request, the property raises.
    with suppress(RuntimeError):
        return str(getattr(error, "request").url)  # noqa: B009
    return ""
