"""Which video of which site a URL names, by yt-dlp's own URL patterns; opens no connection.

yt-dlp is imported with the first public host name, since that takes most of a second.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

_YOUTUBE_HOST = re.compile(r"(?:.*\.)?(?:youtube\.com|youtu\.be|youtube-nocookie\.com)")
_WATCH_URL = re.compile(r"https://www\.youtube\.com/watch\?v=[\w-]{11}", re.ASCII)
_YOUTUBE_SPELLINGS = (
    "https://youtube.com/watch?v={id}",
    "https://m.youtube.com/watch?v={id}",
    "https://www.youtube.com/shorts/{id}",
    "https://www.youtube.com/embed/{id}",
    "https://www.youtube.com/live/{id}",
    "https://www.youtube.com/v/{id}",
    "https://www.youtube.com/watch?v={id}",
    "https://www.youtube.com/watch?v={id}&feature=youtu.be",
    "https://music.youtube.com/watch?v={id}",
    "https://youtube.com/shorts/{id}",
    "https://m.youtube.com/shorts/{id}",
    "https://www.youtube-nocookie.com/embed/{id}",
    "https://youtu.be/{id}",
    "http://www.youtube.com/watch?v={id}",
    "http://youtube.com/watch?v={id}",
    "http://youtu.be/{id}",
)
_DESCRIPTIVE_GROUPS = frozenset({"display_id", "slug", "title", "user_id"})
"""Parts of a URL that repeat what the id says already."""
_PLAYER_PARAMETERS = frozenset(
    {
        "app", "autopause", "autoplay", "badge", "byline", "color", "controls", "dl", "dnt", "end",
        "feature", "fs", "hl", "lang", "loop", "mute", "muted", "portrait", "pp", "ref", "ref_src",
        "referrer", "rel", "s", "share", "si", "spm_id_from", "start", "start_time", "t", "time",
        "time_continue", "title", "usp", "vd_source",
    }
)  # fmt: skip
"""Parameters of a site's URL that tell how to show the video, not which."""


def youtube_watch_url(video_id: str) -> str:
    """Return the canonical URL of a YouTube video."""
    return f"https://www.youtube.com/watch?v={video_id}"


def site_video(url: str) -> str | None:
    """Return one text for all spellings of a site's video; None if no known site has such a URL.

    YouTube's text is the video's URL, that of others the name of yt-dlp's extractor and the id. A parameter
    or a part of the URL that may select another video, such as a page number, is appended.

    Args:
        url: http or https, with the host in lower case and no fragment.
    """
    if _WATCH_URL.fullmatch(url):
        return url
    host = urlsplit(url).hostname or ""
    if not _is_public_name(host):
        return None
    if _YOUTUBE_HOST.fullmatch(host):
        video_id = _youtube_id(url, host)
        return None if video_id is None else youtube_watch_url(video_id)
    for extractor in _extractors(host):
        if extractor.suitable(url):
            return _name(extractor, url)
    return None


def usual_spellings(url: str) -> tuple[str, ...]:
    """Return URLs under which the same video is often listed; none for sites without usual ones."""
    video_id = _youtube_id(url, urlsplit(url).hostname or "")
    return () if video_id is None else tuple(text.format(id=video_id) for text in _YOUTUBE_SPELLINGS)


def _is_public_name(host: str) -> bool:
    """Return whether a host has a name with a top-level domain, unlike an IP address or `localhost`."""
    return host.rpartition(".")[2].isalpha() and "." in host


def _youtube_id(url: str, host: str) -> str | None:
    if not _YOUTUBE_HOST.fullmatch(host):
        return None
    # Not `suitable`: it leaves a video opened from a playlist to the extractor of playlists.
    found = _youtube()._match_valid_url(url)
    return found and found["id"]


def _name(extractor: Any, url: str) -> str | None:  # noqa: ANN401  (yt-dlp's classes have no types)
    found = extractor._match_valid_url(url)
    groups = found.groupdict() if found else {}
    if not groups.get("id") or extractor.is_single_video(url) is False:
        return None
    selecting = {name: text for name, text in groups.items() if text and name not in _DESCRIPTIVE_GROUPS}
    selecting.pop("id")
    for name, text in parse_qsl(urlsplit(url).query):
        if name not in _PLAYER_PARAMETERS and text != groups["id"]:
            selecting[name] = text
    parts = (f"{name}={text}" for name, text in sorted(selecting.items()))
    return " ".join((extractor.ie_key(), groups["id"], *parts))


@cache
def _extractors(host: str) -> list[Any]:
    """Return the extractors, in yt-dlp's order, whose pattern has a part of the host's name.

    To match all 1,750 patterns takes 8 ms, too long for a list of a million URLs.
    """
    words = [_in_pattern(label) for label in host.split(".")[:-1] if label not in ("www", "m")]
    return [extractor for extractor, pattern in _patterns() if any(word.search(pattern) for word in words)]


def _in_pattern(label: str) -> re.Pattern[str]:
    # A short one, such as x.com's, is in most patterns by chance; as a whole word it is in few.
    whole = len(label) < 4
    return re.compile(rf"(?<![a-z0-9-]){re.escape(label)}(?=[.)|(?])" if whole else re.escape(label))


@cache
def _patterns() -> list[tuple[Any, str]]:
    return list(_read_patterns())


def _read_patterns() -> Iterator[tuple[Any, str]]:
    from yt_dlp.extractor import list_extractor_classes

    # Their declared type lacks what the classes have.
    for extractor in cast("Iterable[Any]", list_extractor_classes()):
        patterns = extractor._VALID_URL
        if patterns and not extractor.ie_key().startswith("Generic"):
            texts = (patterns,) if isinstance(patterns, str) else patterns
            yield extractor, " ".join(texts).replace("\\.", ".").lower()


@cache
def _youtube() -> Any:  # noqa: ANN401
    from yt_dlp.extractor import get_info_extractor

    return get_info_extractor("Youtube")
