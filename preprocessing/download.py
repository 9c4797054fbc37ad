"""One source from its address to a verified file, by yt-dlp; the only file that imports yt_dlp.

Each attempt runs in a process of its own (`python -m preprocessing.download`): yt-dlp's memory grows, and a
time limit can be enforced. Beside each verified file lies its record, so that a rerun knows it without asking
the network.
"""

import errno
import hashlib
import ipaddress
import logging
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import imageio_ffmpeg
import yt_dlp
from pydantic import BaseModel, ConfigDict, TypeAdapter
from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadCancelled,
    ExtractorError,
    PostProcessingError,
    YoutubeDLError,
)
from yt_dlp.version import __version__ as yt_dlp_version

from preprocessing import isolation
from preprocessing.ledger import Download
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import DownloadSettings
from preprocessing.sources import Source
from preprocessing.video import UnreadableVideo, decoded_duration_s, probe

logger = logging.getLogger(__name__)

DOWNLOAD = TypeAdapter(Download)
TOLERATED_SHORTAGE_S = 1.0
"""How much shorter than its container says a file may decode."""
PARTIAL_FOLDER = ".partial"
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


class _TooLarge(DownloadCancelled):
    """The file is, or says it will be, larger than allowed."""


class _PrivateHostRefused(OSError):
    """Someone tried to connect to a private address."""


def download_source(source: Source, settings: DownloadSettings, raw: Path) -> Download:
    """Fetch the source into `raw` as `<key>.<extension>`, unless a verified file is there already.

    A bad source is an outcome, not an exception. Failures that may pass by themselves are tried again after a
    pause; what was received so far is kept between attempts.
    """
    existing = read_verified(raw, source.key)
    if existing is not None:
        return existing
    delay_s = settings.retry_delay_s
    download = _attempt(source, settings, raw)
    for _ in range(settings.num_retries):
        if download.status != DownloadStatus.RETRYABLE:
            break
        logger.info("%s: %s; again in %g s", source.url, download.error, delay_s)
        time.sleep(delay_s)
        delay_s *= 2
        download = _attempt(source, settings, raw)
    if download.status not in (DownloadStatus.RETRYABLE, DownloadStatus.STOP_THE_QUEUE):
        shutil.rmtree(raw / PARTIAL_FOLDER / source.key, ignore_errors=True)
    return download


def download_sources(
    sources: list[Source], settings: DownloadSettings, raw: Path, say: Callable[..., None]
) -> dict[str, Download]:
    """Return each source's download by its key; a host that asks for a pause is asked nothing more.

    Args:
        sources: one per video.
        settings: how.
        raw: where to.
        say: gets a format and its arguments, once a source.
    """
    raw.mkdir(parents=True, exist_ok=True)
    stopped: set[str] = set()
    lock = threading.Lock()
    num_done = 0

    def one(source: Source) -> Download:
        nonlocal num_done
        host = host_of(source.url)
        if host in stopped:
            error = f"not tried: {host} asked for a pause; rerun later"
            download = Download(status=DownloadStatus.STOP_THE_QUEUE, error=error)
        else:
            download = download_source(source, settings, raw)
        with lock:
            if download.status == DownloadStatus.STOP_THE_QUEUE:
                stopped.add(host)
            num_done += 1
            remark = f": {download.error}" if download.error else ""
            say("%d/%d %s %s%s", num_done, len(sources), download.status.value, source.url, remark)
        return download

    with ThreadPoolExecutor(settings.num_parallel) as pool:
        return dict(zip((source.key for source in sources), pool.map(one, sources), strict=True))


def read_verified(raw: Path, key: str) -> Download | None:
    """Return the record of a verified file whose size and sha256 are still the recorded ones, or None."""
    record = raw / f"{key}.json"
    if not record.is_file():
        return None
    download = DOWNLOAD.validate_json(record.read_text())
    path = raw / str(download.file)
    if not path.is_file() or path.stat().st_size != download.size_bytes or _sha256(path) != download.sha256:
        return None
    return download


def remove_stale(raw: Path, keys: set[str]) -> list[str]:
    """Remove and name the files of sources that are listed no longer; also what broken runs left."""
    removed = []
    for path in sorted(raw.iterdir()) if raw.is_dir() else ():
        if path.name != PARTIAL_FOLDER and path.name.split(".")[0] not in keys:
            path.unlink()
            removed.append(path.name)
    shutil.rmtree(raw / PARTIAL_FOLDER, ignore_errors=True)
    return removed


def host_of(url: str) -> str:
    """Return the host that answers for the address; one that asks for a pause stops only its own queue."""
    return urlsplit(url).hostname or ""


def _attempt(source: Source, settings: DownloadSettings, raw: Path) -> Download:
    folder = raw / PARTIAL_FOLDER / source.key
    folder.mkdir(parents=True, exist_ok=True)
    request = Request(url=source.url, folder=folder, settings=settings)
    try:
        answer = isolation.run_isolated(__name__, request.model_dump_json(), settings.timeout_s)
    except isolation.ChildFailed as error:
        return Download(status=DownloadStatus.RETRYABLE, error=f"download {error}")
    download = DOWNLOAD.validate_json(answer)
    if download.status != DownloadStatus.VERIFIED:
        return download
    fetched = folder / str(download.file)
    download = replace(download, file=f"{source.key}{fetched.suffix}")
    fetched.replace(raw / str(download.file))
    # The record comes last: a file without one is fetched again.
    record = raw / f".{source.key}.json.partial"
    record.write_bytes(DOWNLOAD.dump_json(download, indent=1))
    record.replace(raw / f"{source.key}.json")
    return download


def fetch(request: Request) -> Download:
    """Download, verify and describe one video into `request.folder`, in this process.

    Connections to private addresses are refused from now on in this process, so call it in one of its own.
    """
    if request.url.startswith("file://"):
        return _copy(request)
    refused: list[str] = []
    guard_connections(request.settings.allow_private_hosts, refused.append)
    try:
        with yt_dlp.YoutubeDL(_options(request)) as ydl:  # pyright: ignore[reportArgumentType]
            info: Any = ydl.extract_info(request.url, download=True)
        info = info["entries"][0] if info.get("_type") == "playlist" else info
        path = Path(info["requested_downloads"][0]["filepath"])
        return _verified(path, info, request.settings.max_bytes)
    except (YoutubeDLError, OSError, UnreadableVideo, LookupError) as error:
        if refused:
            message = (
                f"got {request.url}, which leads to the private host {refused[0]}; only public hosts are "
                "allowed; list it in download.allow_private_hosts if you trust it"
            )
            return Download(status=DownloadStatus.PERMANENT, error=message)
        return Download(status=classify(error), error=_one_line(error))


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
        size = path.stat().st_size
        if size > request.settings.max_bytes:
            raise _TooLarge(
                f"got a file of {size} bytes; at most {request.settings.max_bytes} are allowed; "
                "raise download.max_bytes"
            )
        copy = Path(shutil.copyfile(path, request.folder / f"video{path.suffix.lower()}"))
        download = _verified(copy, {"format_id": "file"}, request.settings.max_bytes)
        return replace(download, downloader="copied")
    except (FileNotFoundError, IsADirectoryError):
        message = f"got {request.url}, where no file is; correct the row"
        return Download(status=DownloadStatus.PERMANENT, error=message)
    except (OSError, YoutubeDLError, UnreadableVideo) as error:
        return Download(status=classify(error), error=_one_line(error))


def classify(error: BaseException) -> DownloadStatus:
    """Return the outcome for an error by the types and codes in its chain of causes, never by its words."""
    for cause in _causes(error):
        if isinstance(cause, HTTPError):
            by_code = DownloadStatus.RETRYABLE if cause.status >= 500 else DownloadStatus.PERMANENT
            return HOST_STATUSES.get(cause.status, by_code)
        if isinstance(cause, OSError) and cause.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EACCES,
            errno.EROFS,
        ):
            return DownloadStatus.ENVIRONMENT
        if isinstance(cause, PostProcessingError):
            return DownloadStatus.ENVIRONMENT
        if isinstance(cause, RequestError | ContentTooShortError):
            return DownloadStatus.RETRYABLE
    for cause in _causes(error):
        if isinstance(cause, _TooLarge | UnreadableVideo | LookupError):
            return DownloadStatus.PERMANENT
        if isinstance(cause, ExtractorError) and cause.expected:
            return DownloadStatus.PERMANENT
    return DownloadStatus.RETRYABLE


def guard_connections(allowed_hosts: tuple[str, ...], report: Callable[[str], None]) -> None:
    """Refuse every connection of this process to an address that is not public, whatever led to it.

    An audit hook sees the very address that is connected to, so that neither a redirect, nor a playlist, nor
    a name that resolves differently the second time gets past it. A hook cannot be removed.

    Args:
        allowed_hosts: names or addresses that are allowed all the same.
        report: called with each refused address.
    """
    allowed = {address for host in allowed_hosts for address in _addresses(host)}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            address = ipaddress.ip_address(arguments[1][0].partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            if not address.is_global and address not in allowed:
                report(str(address))
                raise _PrivateHostRefused(f"{address} is a private address")

    sys.addaudithook(hook)


def _addresses(host: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        for *_, address in socket.getaddrinfo(host, None):
            yield ipaddress.ip_address(str(address[0]).partition("%")[0])
    except socket.gaierror:
        logger.warning("download.allow_private_hosts lists %s, which has no address here", host)


def _options(request: Request) -> dict[str, Any]:
    settings = request.settings

    def refuse_large(progress: dict[str, Any]) -> None:
        size = max(progress.get("total_bytes") or 0, progress.get("downloaded_bytes") or 0)
        if size > settings.max_bytes:
            raise _TooLarge(
                f"got a file of {size} bytes; at most {settings.max_bytes} are allowed; "
                "raise download.max_bytes"
            )

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
        # Straight to the host: behind a proxy the guard would see the proxy's address only.
        "proxy": "",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "never",
    }


def _verified(path: Path, info: dict[str, Any], max_bytes: int) -> Download:
    size = path.stat().st_size
    if size > max_bytes:
        raise _TooLarge(
            f"got a file of {size} bytes; at most {max_bytes} are allowed; raise download.max_bytes"
        )
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
        sha256=_sha256(path),
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    isolation.answer(lambda text: DOWNLOAD.dump_json(fetch(Request.model_validate_json(text))).decode())
