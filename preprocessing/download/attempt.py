"""One attempt to download and verify one source with yt-dlp; `retries` decides whether another follows.

Each attempt runs in a child process (`python -m preprocessing.download.attempt`), so that its memory is freed
and limits can be enforced. It gets two requests, receive and verify, since their time limits differ.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg
import yt_dlp
from pydantic import BaseModel, ConfigDict, TypeAdapter
from yt_dlp.utils import YoutubeDLError
from yt_dlp.version import __version__ as yt_dlp_version

from preprocessing.download.address_guard import guard_connections, is_refused
from preprocessing.download.failures import (
    FormatMissingError,
    absence_of,
    classify,
    is_forbidden,
    is_refused_by_proxy,
    one_line,
    retry_after_s,
)
from preprocessing.download.local_files import copy_local, count_local_frames
from preprocessing.download.remote_files import receive_remote
from preprocessing.download.verification import require_file_size, verify
from preprocessing.ledger import Download
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.video_reader import probe
from preprocessing.outcome import DownloadStatus
from preprocessing.sandbox.child_server import answer_requests
from preprocessing.settings import DownloadSettings
from preprocessing.storage.remote_file import is_remote, reader_of


class Received(BaseModel):
    """A source that was received and is not verified yet."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_frames: int
    """Pictures to decode, as its packets say; of a local source too, which is copied when it is verified."""
    file: str = ""
    """Name in the receiving folder; empty for a local source."""
    downloader: str = ""
    format_id: str = ""
    acodec: str | None = None


class AttemptRequest(BaseModel):
    """What the child process gets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str
    """The source's address."""
    folder: Path
    """Where the file and its parts go; parts of an earlier attempt are continued."""
    settings: DownloadSettings
    proxy: str | None = None
    """URL of the proxy, which the settings mask when they are written; None connects directly."""
    received: Received | None = None
    """What to verify; None to receive it first."""


class AttemptResult(BaseModel):
    """How an attempt ended."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    download: Download
    retry_after_s: float | None = None
    """Seconds of the host's Retry-After header; None without one."""
    is_forbidden: bool = False
    """Whether the host answered 403."""
    num_left: int = 0
    """Attempts that are to follow once the host may be requested again; 0 if it is over."""


ANSWER: TypeAdapter[Received | AttemptResult] = TypeAdapter(Received | AttemptResult)
"""What the child process returns: the source is to be verified next, or the attempt is over."""


def verification_limit_s(num_frames: int, settings: DownloadSettings) -> float:
    """Return the seconds that verification may take: it grows with the length, so that long videos pass."""
    return settings.timeout_s + num_frames / settings.min_decode_fps


def receive(request: AttemptRequest) -> Received | AttemptResult:
    """Download one video in this process; every failure is a result, not an exception.

    From now on this process refuses connections to private addresses, so call it in a process of its own.
    """
    url, folder, settings = request.url, request.folder, request.settings
    if url.startswith("file://"):
        return Received(num_frames=count_local_frames(url, settings.local_root))
    if is_remote(url):
        received = receive_remote(url, folder, settings)
        if isinstance(received, Download):
            return AttemptResult(download=received)
        try:
            num_frames = probe(received).num_frames
        except UnreadableVideoError as error:
            return _failure(error, folder)
        return Received(
            num_frames=num_frames, file=received.name, downloader=reader_of(url), format_id="file"
        )
    if settings.cookies is not None and not settings.cookies.is_file():
        message = (
            f"got no file at {settings.cookies}; export your browser's cookies to it or set download.cookies"
        )
        return AttemptResult(download=Download(status=DownloadStatus.ENVIRONMENT, error=message))
    refused: list[str] = []
    host, proxy = urlsplit(url).hostname or "", request.proxy and urlsplit(request.proxy).hostname
    if proxy is not None and is_refused(host, settings.allow_private_hosts):
        return AttemptResult(download=_refusal(url, host))
    guard_connections(settings.allow_private_hosts, proxy, refused.append)
    try:
        return _download(request)
    except (YoutubeDLError, OSError, UnreadableVideoError, LookupError) as error:
        return AttemptResult(download=_refusal(url, refused[0])) if refused else _failure(error, folder)


def verify_received(request: AttemptRequest, received: Received) -> AttemptResult:
    """Verify one video in this process, and copy it before if it is local; every failure is a result."""
    url, folder, settings = request.url, request.folder, request.settings
    if url.startswith("file://"):
        return AttemptResult(download=copy_local(url, folder, settings.local_root, settings.max_bytes))
    try:
        download = verify(
            folder / received.file,
            settings.max_bytes,
            downloader=received.downloader,
            format_id=received.format_id,
            acodec=received.acodec,
        )
    except (YoutubeDLError, OSError, UnreadableVideoError) as error:
        return _failure(error, folder)
    if is_remote(url) and download.status == DownloadStatus.RETRYABLE:
        # Another copy of the same file would lack the same.
        message = f"{download.error}; replace {url}"
        download = replace(download, status=DownloadStatus.PERMANENT, error=message)
    return AttemptResult(download=download)


def _failure(error: Exception, folder: Path) -> AttemptResult:
    message = one_line(error).replace(f"{folder}/", "")
    if is_refused_by_proxy(error):
        message += "; set LIA_DOWNLOAD_PROXY to the proxy's URL with a user and a password that it accepts"
    download = Download(status=classify(error), error=message, absence=absence_of(error))
    return AttemptResult(
        download=download, retry_after_s=retry_after_s(error), is_forbidden=is_forbidden(error)
    )


class _Downloader(yt_dlp.YoutubeDL):
    """yt-dlp with retries for the fragments of a stream alone: whole files are retried by `retries`.

    yt-dlp has one option for both where the host answers 5xx or breaks off; `fragment_retries` covers 4xx.
    """

    def dl(self, name: str, info: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        is_whole = info.get("protocol") in ("http", "https")
        self.params["retries"] = 0 if is_whole else self.params.get("fragment_retries", 0)
        return super().dl(name, info, *arguments, **options)


def _download(request: AttemptRequest) -> Received:
    settings = request.settings
    with _Downloader(_options(request)) as ydl:  # pyright: ignore[reportArgumentType]
        select: Any = ydl.format_selector

        def select_or_raise(context: object) -> Iterator[Any]:
            found = list(select(context))
            if not found:
                raise FormatMissingError(
                    f"got no format that matches {settings.format!r}; change download.format, or install the "
                    "program that download.js_runtime names, which YouTube needs"
                )
            return iter(found)

        ydl.format_selector = select_or_raise
        info: Any = ydl.extract_info(request.url, download=True)
    info = info["entries"][0] if info.get("_type") == "playlist" else info
    path = Path(info["requested_downloads"][0]["filepath"])
    acodec = info.get("acodec")
    return Received(
        num_frames=probe(path).num_frames,
        file=path.name,
        downloader=f"yt-dlp {yt_dlp_version}",
        format_id=str(info.get("format_id")),
        acodec=None if acodec == "none" else acodec,
    )


def _refusal(url: str, host: str) -> Download:
    message = (
        f"got {url}, which leads to the private host {host}; only public hosts are allowed; list it in "
        "download.allow_private_hosts if you trust it"
    )
    return Download(status=DownloadStatus.PERMANENT, error=message)


def _options(request: AttemptRequest) -> dict[str, Any]:
    settings = request.settings

    def refuse_large(progress: dict[str, Any]) -> None:
        size = max(progress.get("total_bytes") or 0, progress.get("downloaded_bytes") or 0)
        require_file_size(size, settings.max_bytes)

    def fragment_delay_s(n: int) -> float:
        return min(settings.retry_delay_s, 2.0**n)

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
        "extractor_retries": 0,
        # Unless told otherwise yt-dlp leaves missing fragments out and calls the download complete.
        "skip_unavailable_fragments": False,
        "fragment_retries": settings.num_fragment_retries,
        "retry_sleep_functions": {"fragment": fragment_delay_s, "http": fragment_delay_s},
        "socket_timeout": 30,
        "ratelimit": settings.max_bytes_per_s,
        # A stream, since yt-dlp would write the site's new cookies back to a file.
        "cookiefile": settings.cookies and io.StringIO(settings.cookies.read_text()),
        # An empty string, unlike None, keeps yt-dlp from using http_proxy of the environment.
        "proxy": request.proxy or "",
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


def _answer(text: str) -> str:
    request = AttemptRequest.model_validate_json(text)
    received = request.received
    answer = receive(request) if received is None else verify_received(request, received)
    return answer.model_dump_json()


if __name__ == "__main__":
    answer_requests(_answer)
