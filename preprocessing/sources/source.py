"""A source: a video or a part of one, as one row of the list describes it, and the keys made from it."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

Split = Literal["train", "test", "auto", "by_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One row of the list; slotted, since lists have a million rows."""

    url: str
    """Canonical, see `canonical_url`."""
    key: str
    """sha1 of `url` in hex; names the video in files, tables and the store."""
    source_id: str | None = None
    """The list's own name of the source."""
    start_s: float | None = None
    """Start of the part; None is the video's beginning."""
    end_s: float | None = None
    """End of the part; None is the video's end."""
    bbox: tuple[float, float, float, float] | None = None
    """The wanted face: left, top, right, bottom in a frame of `bbox_size`."""
    bbox_size: tuple[int, int] | None = None
    """Width and height that `bbox` refers to."""
    identity: str | None = None
    """Name of who is shown, the same in all rows that show them."""
    split: Split = "auto"
    licence: str | None = None
    note: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    """Values of unknown columns, kept for the ledger."""

    @property
    def row_key(self) -> str:
        """The key and a hash of the part, so that two parts of one video differ."""
        part = (self.start_s, self.end_s, self.bbox)
        if part == (None, None, None):
            return f"{self.key}-whole"
        return f"{self.key}-{hashlib.sha1(repr(part).encode()).hexdigest()[:8]}"


def canonical_url(url: str) -> str:
    """Return the URL with its host in lower case, without a default port or a fragment.

    Raises:
        ValueError: neither an http or https URL nor a file:// URL of this machine.
    """
    try:
        return _canonical(urlsplit(url.strip()))
    except ValueError as error:
        message = f"got url {url!r}; an http, https or file:// URL is needed; correct the row"
        raise ValueError(message) from error


def source_key(url: str) -> str:
    """Return the sha1 of the canonical form of a URL, in hex."""
    return canonical_key(canonical_url(url))


def canonical_key(url: str) -> str:
    """Return the sha1 of a URL that is canonical already, in hex."""
    return hashlib.sha1(url.encode()).hexdigest()


def _canonical(parts: SplitResult) -> str:
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return f"file://{quote(unquote(parts.path))}"
    host = (parts.hostname or "").lower()
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ValueError("unsupported scheme, or no host")
    scheme = parts.scheme.lower()
    default_port = {"http": 80, "https": 443}[scheme]
    host = f"[{host}]" if ":" in host else host
    netloc = host if parts.port in (None, default_port) else f"{host}:{parts.port}"
    return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))
