"""A source: a video or a part of one, as a row of the list says it, and the name of its address."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

Split = Literal["train", "test", "auto", "by_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One row of the list; lean, since lists have a million."""

    url: str
    """Canonical address."""
    key: str
    """sha1 of the address: the name of the video everywhere."""
    source_id: str | None = None
    """The list's own name for it."""
    start_s: float | None = None
    """Where the part begins; None is the video's beginning."""
    end_s: float | None = None
    """Where the part ends; None is the video's end."""
    bbox: tuple[float, float, float, float] | None = None
    """Where the wanted face is: left, top, right, bottom in a frame of `bbox_size`."""
    bbox_size: tuple[int, int] | None = None
    """Width and height that `bbox` refers to."""
    identity: str | None = None
    """Name of the person, the same in every row that shows them."""
    split: Split = "auto"
    """Wanted split."""
    licence: str | None = None
    """Terms under which the video may be used."""
    note: str | None = None
    """Anything else."""
    extra: dict[str, str] = field(default_factory=dict)
    """Columns that we do not know."""

    @property
    def row_key(self) -> str:
        """Return a name that differs between two parts of one video."""
        part = (self.start_s, self.end_s, self.bbox)
        if part == (None, None, None):
            return f"{self.key}-whole"
        return f"{self.key}-{hashlib.sha1(repr(part).encode()).hexdigest()[:8]}"


def canonical_url(url: str) -> str:
    """Return the address with a lower-case host, without a default port and without a fragment.

    Raises:
        ValueError: not an http or https address, nor a file:// address of this machine.
    """
    try:
        return _canonical(urlsplit(url.strip()))
    except ValueError as error:
        message = f"got url {url!r}; an http, https or file:// address is needed; correct the row"
        raise ValueError(message) from error


def source_key(url: str) -> str:
    """Return the sha1 of the canonical address, in hex."""
    return canonical_key(canonical_url(url))


def canonical_key(url: str) -> str:
    """Return the sha1 of an address that is canonical already, in hex."""
    return hashlib.sha1(url.encode()).hexdigest()


def _canonical(parts: SplitResult) -> str:
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return f"file://{quote(unquote(parts.path))}"
    host = (parts.hostname or "").lower()
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ValueError("another scheme, or no host")
    scheme = parts.scheme.lower()
    default_port = {"http": 80, "https": 443}[scheme]
    host = f"[{host}]" if ":" in host else host
    netloc = host if parts.port in (None, default_port) else f"{host}:{parts.port}"
    return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))
