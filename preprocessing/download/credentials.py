"""Masks passwords and tokens in URLs, for everything that is logged, recorded or put into the ledger."""

import re
from dataclasses import replace

from preprocessing.sources.source import Source

_USER = re.compile(r"(?<=://)[^/\s@'\"]+@")
_PARAMETER = re.compile(
    r"([?&;][\w.%-]*(?:token|secret|passw|pwd|signature|credential|auth|session|policy|api_?-?key|key-pair-id)"
    r"[\w.%-]*=|[?&;](?:key|sig|jwt|sid|hdnt[sl])=)[^&#;\s'\",]+",
    re.IGNORECASE,
)


def mask_credentials(text: str) -> str:
    """Return a text with `***` for users, passwords, and query parameters that are named like secrets."""
    return _PARAMETER.sub(r"\1***", _USER.sub("***@", text))


def mask_source(source: Source) -> Source:
    """Return a source for the ledger: the same key, without credentials in its texts.

    A masked URL ends with a part of the key, so that videos whose tokens alone differ stay apart.
    """
    url = mask_credentials(source.url)
    return replace(
        source,
        url=url if url == source.url else f"{url}#{source.key[:8]}",
        note=source.note and mask_credentials(source.note),
        extra={name: mask_credentials(value) for name, value in source.extra.items()},
    )
