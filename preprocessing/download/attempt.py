"""One attempt at one source, from its address to a verified file, by yt-dlp; the only file that imports it.

Each attempt runs in a child process (`python -m preprocessing.download.attempt`): yt-dlp's memory grows, and
limits can be enforced.
"""

import errno
import io
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import imageio_ffmpeg
import yt_dlp
from pydantic import BaseModel, ConfigDict
from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadCancelled,
    ExtractorError,
    PostProcessingError,
    YoutubeDLError,
)
from yt_dlp.version import __version__ as yt_dlp_version

from preprocessing.download.address_guard import guard_connections, is_refused
from preprocessing.ledger import Download
from preprocessing.media.video import UnreadableVideoError, decoded_duration_s, pack_frames, probe
from preprocessing.outcome import DownloadStatus
from preprocessing.sandbox import child as isolation
from preprocessing.settings import DownloadSettings
from preprocessing.storage.files import file_sha256

PICTURES_FPS = 25
"""Rate at which the published recipes stored folders of pictures."""
TOLERATED_SHORTAGE_S = 1.0
"""How much shorter than its container says a file may decode."""
NOT_HUMAN = ("not a bot", "captcha", "rate-limited")
"""What YouTube's own messages say of a robot or of too many requests. yt-dlp 2026.08.19 has no type for
these, so they are the one place where an error is told by its words: taken for a video that is gone, a
wall would strike whole lists off."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
HOST_STATUSES = {
    429: DownloadStatus.STOP_THE_QUEUE,
    408: DownloadStatus.RETRYABLE,
    425: DownloadStatus.RETRYABLE,
}


class Request(BaseModel):
    """One attempt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    folder: Path
    settings: DownloadSettings


class Answer(BaseModel):
    """What came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    download: Download
    """The outcome."""
    retry_after_s: float | None = None
    """How long the host wants to be left alone, where it says so."""


class _FormatMissingError(YoutubeDLError):
    """The host offers other formats than those asked for."""


class _TooLargeError(DownloadCancelled):
    """The file is, or says it will be, larger than allowed."""


def fetch(request: Request) -> Answer:
    """Download, verify and describe one video into `request.folder`, in this process.

    Connections to private addresses are refused from now on in this process, so call it in one of its own.
    """
    settings = request.settings
    if request.url.startswith("file://"):
        return Answer(download=_copy(request))
    if settings.cookies is not None and not settings.cookies.is_file():
        message = (
            f"got no file at {settings.cookies}; export your browser's cookies to it or set download.cookies"
        )
        return Answer(download=Download(status=DownloadStatus.ENVIRONMENT, error=message))
    refused: list[str] = []
    host, proxy = urlsplit(request.url).hostname or "", settings.proxy and urlsplit(settings.proxy).hostname
    if proxy is not None and is_refused(host, settings.allow_private_hosts):
        return Answer(download=_refusal(request.url, host))
    guard_connections(settings.allow_private_hosts, proxy, refused.append)
    try:
        return Answer(download=_fetch(request))
    except (YoutubeDLError, OSError, UnreadableVideoError, LookupError) as error:
        if refused:
            return Answer(download=_refusal(request.url, refused[0]))
        said = _one_line(error).replace(f"{request.folder}/", "")
        outcome = Download(status=classify(error), error=said)
        return Answer(download=outcome, retry_after_s=_retry_after_s(error))


def _fetch(request: Request) -> Download:
    with yt_dlp.YoutubeDL(_options(request)) as ydl:  # pyright: ignore[reportArgumentType]
        select: Any = ydl.format_selector

        def select_some(context: object) -> Iterator[Any]:
            found = list(select(context))
            if not found:
                raise _FormatMissingError(
                    f"got formats of which none is {request.settings.format!r}; change download.format, or "
                    "install the program that download.js_runtime names, which YouTube needs"
                )
            return iter(found)

        ydl.format_selector = select_some
        info: Any = ydl.extract_info(request.url, download=True)
    info = info["entries"][0] if info.get("_type") == "playlist" else info
    path = Path(info["requested_downloads"][0]["filepath"])
    return _verified(path, info, request.settings.max_bytes)


def _refusal(url: str, host: str) -> Download:
    message = (
        f"got {url}, which leads to the private host {host}; only public hosts are allowed; list it in "
        "download.allow_private_hosts if you trust it"
    )
    return Download(status=DownloadStatus.PERMANENT, error=message)


def _copy(request: Request) -> Download:
    """Copy a video of this machine; a link would let DVC change the original's permissions."""
    root = request.settings.local_root
    path = Path(unquote(urlsplit(request.url).path)).resolve()
    if root is None or not path.is_relative_to(root.resolve()):
        message = (
            f"got {request.url}; videos of this machine are allowed below download.local_root alone, which "
            f"is {root or 'not set'}; set it to a folder that holds this one"
        )
        return Download(status=DownloadStatus.PERMANENT, error=message)
    try:
        copy = _received(path, request.folder, request.settings)
        download = _verified(copy, {"format_id": "file"}, request.settings.max_bytes)
        return replace(download, downloader="packed" if path.is_dir() else "copied")
    except FileNotFoundError:
        message = f"got {request.url}, where no file is; correct the row"
        return Download(status=DownloadStatus.PERMANENT, error=message)
    except (OSError, YoutubeDLError, UnreadableVideoError) as error:
        return Download(status=classify(error), error=_one_line(error))


def _received(path: Path, folder: Path, settings: DownloadSettings) -> Path:
    """Return the copy of a video, or a video of a folder's pictures."""
    files = path.iterdir() if path.is_dir() else (path,)
    _require_size(sum(file.stat().st_size for file in files), settings.max_bytes)
    if path.is_dir():
        pack_frames(path, folder / "video.mov", PICTURES_FPS)
        return folder / "video.mov"
    return Path(shutil.copyfile(path, folder / f"video{path.suffix.lower()}"))


def _require_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise _TooLargeError(
            f"got a file of {size} bytes; at most {max_bytes} are allowed; raise download.max_bytes"
        )


def classify(error: BaseException) -> DownloadStatus:
    """Return the outcome for an error by the types and codes in its chain of causes; see `NOT_HUMAN`."""
    for cause in _causes(error):
        if isinstance(cause, HTTPError):
            by_code = DownloadStatus.RETRYABLE if cause.status >= 500 else DownloadStatus.PERMANENT
            return HOST_STATUSES.get(cause.status, by_code)
        if isinstance(cause, OSError) and cause.errno in DISK_ERRORS:
            return DownloadStatus.ENVIRONMENT
        if isinstance(cause, PostProcessingError | _FormatMissingError):
            return DownloadStatus.ENVIRONMENT
        if isinstance(cause, RequestError | ContentTooShortError):
            return DownloadStatus.RETRYABLE
    for cause in _causes(error):
        if isinstance(cause, _TooLargeError | UnreadableVideoError | LookupError):
            return DownloadStatus.PERMANENT
        if isinstance(cause, ExtractorError) and cause.expected:
            is_wall = any(words in str(cause) for words in NOT_HUMAN)
            return DownloadStatus.STOP_THE_QUEUE if is_wall else DownloadStatus.PERMANENT
    return DownloadStatus.RETRYABLE


def _options(request: Request) -> dict[str, Any]:
    settings = request.settings

    def refuse_large(progress: dict[str, Any]) -> None:
        size = max(progress.get("total_bytes") or 0, progress.get("downloaded_bytes") or 0)
        _require_size(size, settings.max_bytes)

    return {
        "format": settings.format,
        "format_sort": list(settings.format_sort),
        "paths": {"home": str(request.folder)},
        "outtmpl": {"default": "video.%(ext)s"},
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "progress_hooks": [refuse_large],
        "playlist_items": "1",
        "noplaylist": True,
        "hls_prefer_native": True,
        "overwrites": False,
        "updatetime": False,
        "cachedir": False,
        "retries": 0,
        "extractor_retries": 0,
        "socket_timeout": 30,
        "ratelimit": settings.max_bytes_per_s,
        # A stream, since yt-dlp writes what sites answered back into a file.
        "cookiefile": settings.cookies and io.StringIO(settings.cookies.read_text()),
        # Straight to the host unless told otherwise, whatever the environment says.
        "proxy": settings.proxy or "",
        "js_runtimes": _js_runtimes(settings.js_runtime),
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "never",
    }


def _js_runtimes(text: str | None) -> dict[str, dict[str, str]]:
    if text is None:
        return {}
    name, _, path = text.partition(":")
    return {name: {"path": path} if path else {}}


def _retry_after_s(error: BaseException) -> float | None:
    """Return the seconds that the host's answer asks for, which it may write as a date."""
    for cause in _causes(error):
        if isinstance(cause, HTTPError) and (text := cause.response.headers.get("Retry-After")):
            if text.strip().isdecimal():
                return float(text)
            try:
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
            except ValueError:
                return None
    return None


def _verified(path: Path, info: dict[str, Any], max_bytes: int) -> Download:
    size = path.stat().st_size
    _require_size(size, max_bytes)
    header = probe(path)
    decoded_s = decoded_duration_s(path)
    if decoded_s < header.duration_s - TOLERATED_SHORTAGE_S:
        path.unlink()
        message = f"got {decoded_s:.1f} s of video from a file that claims {header.duration_s:.1f} s"
        return Download(status=DownloadStatus.RETRYABLE, error=message)
    acodec = info.get("acodec")
    return Download(
        status=DownloadStatus.VERIFIED,
        file=path.name,
        size_bytes=size,
        sha256=file_sha256(path),
        format_id=str(info.get("format_id")),
        vcodec=header.codec,
        acodec=header.audio_codec or (acodec if acodec != "none" else None),
        width_px=header.width_px,
        height_px=header.height_px,
        fps=float(header.fps),
        duration_s=decoded_s,
        downloader=f"yt-dlp {yt_dlp_version}",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything it was made from; yt-dlp keeps originals in fields of its own."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [getattr(cause, "cause", None), *(getattr(cause, "exc_info", None) or ())[1:2]]
        inner += [cause.__cause__, cause.__context__]
        waiting += [one for one in inner if isinstance(one, BaseException)]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).removeprefix("ERROR: ") or type(error).__name__


if __name__ == "__main__":
    isolation.answer(lambda text: fetch(Request.model_validate_json(text)).model_dump_json())
