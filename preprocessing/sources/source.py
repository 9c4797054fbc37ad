"""A source: a video or a part of one, as one row of the list describes it, and the keys made from it."""

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from preprocessing.sources.sites import site_video, usual_spellings

Split = Literal["train", "test", "auto", "by_time"]
_TRACKING = re.compile(
    r"(?:utm_\w+|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid|igshid|mc_cid|mc_eid|_ga|_gl)(?:=.*)?"
)
"""Parameters that say where a visitor came from, and so never which video is meant."""
_REMOTE_FILE = re.compile(r"(s3|gs|hf)://([\w.-]+/[^\x00-\x1f]*[^\x00-\x1f/])", re.IGNORECASE | re.ASCII)
"""A bucket, or a kind of Hugging Face's repositories, and a name in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One row of the list; slotted, since lists have a million rows."""

    url: str
    """The address to download from: as listed, in the form of `plain_url`."""
    key: str
    """sha1 of `canonical_url(url)` in hex; names the video in files, tables and the store."""
    source_id: str | None = None
    """The list's own name of the source."""
    start_s: float | None = None
    """Start of the part; None is the video's beginning."""
    end_s: float | None = None
    """End of the part; None is the video's end."""
    bbox: tuple[float, float, float, float] | None = None
    """The wanted face: left, top, right, bottom in a frame of `bbox_size`."""
    bbox_size: tuple[int, int] | None = None
    """Width and height that `bbox` refers to; a width of 0 is that of the video's own aspect."""
    identity: str | None = None
    """Name of who is shown, the same in all rows that show them."""
    split: Split = "auto"
    licence: str | None = None
    note: str | None = None
    list: str | None = None
    """Name of the published list that the row comes from."""
    extra: dict[str, str] = field(default_factory=dict)
    """Values of unknown columns, kept for the ledger."""

    @property
    def row_key(self) -> str:
        """The key and a hash of the part, so that two parts of one video differ."""
        part = (self.start_s, self.end_s, self.bbox)
        if part == (None, None, None):
            return f"{self.key}-whole"
        return f"{self.key}-{hashlib.sha1(repr(part).encode()).hexdigest()[:8]}"


def with_box_width(source: Source, frame_size: tuple[int | None, int | None]) -> Source:
    """Return the source with the width that `bbox` refers to, taken from the aspect of a frame of that size.

    Args:
        source: unchanged if its width is known, or if it has no box.
        frame_size: width and height of the video's upright frame.
    """
    width, height = frame_size
    if source.bbox_size is None or source.bbox_size[0] or not width or not height:
        return source
    box_height = source.bbox_size[1]
    return replace(source, bbox_size=(round(box_height * width / height), box_height))


def plain_url(url: str) -> str:
    """Return the URL with scheme and host in lower case, without a default port or a fragment.

    Of an s3://, gs:// or hf:// URL, all but the scheme is a name, in which every character counts.

    Raises:
        ValueError: neither an http, https, s3, gs or hf URL nor a file:// URL of this machine.
    """
    if found := _REMOTE_FILE.fullmatch(url.strip()):
        return f"{found[1].lower()}://{found[2]}"
    try:
        return _plain(urlsplit(url.strip()))
    except ValueError as error:
        message = f"got url {url!r}; an http, https, file, s3, gs or hf URL is needed; correct the row"
        raise ValueError(message) from error


@lru_cache(maxsize=1024)
def canonical_url(url: str) -> str:
    """Return one text for all spellings of a video's URL.

    It is `site_video` for a site that yt-dlp knows, such as YouTube's URL of the video. For other sites it is
    the plain URL without tracking parameters, the other parameters sorted by name.

    Raises:
        ValueError: as `plain_url` does.
    """
    plain = plain_url(url)
    if not plain.startswith("http"):
        return plain
    return site_video(plain) or _without_tracking(plain)


def source_key(url: str) -> str:
    """Return the sha1 of the canonical form of a URL, in hex; it names the video everywhere.

    Raises:
        ValueError: as `plain_url` does.
    """
    return text_key(canonical_url(url))


def former_keys(url: str) -> set[str]:
    """Return keys under which earlier versions may have stored a video: the sha1 of plain URLs.

    Those are the URL as given and the spellings that are usual for its site.
    """
    plain = plain_url(url)
    return {text_key(spelling) for spelling in (plain, *usual_spellings(plain))} - {source_key(url)}


def text_key(text: str) -> str:
    """Return the sha1 of a text in hex."""
    return hashlib.sha1(text.encode()).hexdigest()


def _plain(parts: SplitResult) -> str:
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


def _without_tracking(url: str) -> str:
    parts = urlsplit(url)
    fields = [text for text in parts.query.split("&") if text and not _TRACKING.fullmatch(text)]
    # Sorted by name alone, since the order of repeated names may have a meaning.
    return urlunsplit(parts._replace(query="&".join(sorted(fields, key=lambda text: text.partition("=")[0]))))
