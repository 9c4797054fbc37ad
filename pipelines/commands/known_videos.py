"""Which videos a name stands for: one by its URL, in any spelling, or key; some by source_id or identity."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from preprocessing.ledger import iterate_sources, read_clip_rows
from preprocessing.sources.source import Source, former_keys, plain_url, source_key, text_key

KEY = re.compile(r"[0-9a-f]{40}")
NUM_NEAR = 3
"""Most names that the message about an unknown one suggests."""


def known_sources(listed: Iterable[Source], ledger: Path) -> list[Source]:
    """Return the sources of the list and of the ledger's tables; what only the clips know is named there."""
    sources, clips = ledger / "sources.parquet", ledger / "clips.parquet"
    known = [*listed, *(iterate_sources(sources) if sources.is_file() else ())]
    if clips.is_file():
        # Identities that the list lacks are assigned in the ledger.
        known += (
            Source(url=row.url, key=row.source_key, identity=row.identity) for row in read_clip_rows(clips)
        )
    return known


def find_videos(
    name: str, known: Sequence[Source], tombstones: Collection[str] = (), even_if_unknown: bool = False
) -> dict[str, str]:
    """Return the videos that `name` stands for, URL by key; the URL is empty if only the key is known.

    Args:
        name: a URL in any spelling, a key, a source_id or an identity.
        known: sources of the list and the ledger.
        tombstones: keys of videos that were taken down before, for a rerun.
        even_if_unknown: accept a URL or key that nothing has.

    Raises:
        ValueError: there are none, or a URL is invalid.
    """
    is_url = "://" in name
    wanted = source_key(name) if is_url else name if KEY.fullmatch(name) else None

    def is_meant(source: Source) -> bool:
        if wanted is None:
            return name in (source.source_id, source.identity)
        return wanted in (source.key, source_key(source.url), text_key(source.url))

    found = {source_key(source.url): source.url for source in known if is_meant(source)}
    if not found and wanted is not None and (even_if_unknown or wanted in tombstones):
        return {wanted: plain_url(name) if is_url else ""}
    if not found:
        raise ValueError(_unknown(name, known, can_be_forced=wanted is not None))
    return found


def spelled_keys(name: str, videos: Collection[str], known: Iterable[Source]) -> set[str]:
    """Return the keys, beside the current ones, of the spellings of the videos' URLs, `name` among them."""
    spellings = {name} if "://" in name else set()
    keys = set()
    for source in known:
        if source_key(source.url) in videos:
            spellings.add(source.url)
            keys.add(source.key)
    return (keys | {text_key(plain_url(url)) for url in spellings}) - set(videos)


def usual_keys(urls: Iterable[str]) -> set[str]:
    """Return the keys of the usual spellings of URLs, under which earlier versions may have stored videos."""
    return {key for url in urls if url for key in former_keys(url)}


def _unknown(name: str, known: Sequence[Source], can_be_forced: bool) -> str:
    names = {text for one in known for text in (one.url, one.source_id, one.identity) if text}
    by_lower = {text.lower(): text for text in sorted(names)}
    near = difflib.get_close_matches(name.lower(), by_lower, NUM_NEAR)
    suggestion = f"; near it: {', '.join(by_lower[text] for text in near)}" if near else ""
    forced = ", or add --even-if-unknown to write a tombstone" if can_be_forced else ""
    return (
        f"got {name!r}, which is no URL, key, source_id or identity in the list of sources or the ledger"
        f"{suggestion}; give one of these{forced}"
    )
