"""Verifies a received file: its size, and that all of its video decodes."""

from pathlib import Path

from preprocessing.download.failures import TooLargeError
from preprocessing.ledger import Download
from preprocessing.media.video_reader import find_damage, probe
from preprocessing.outcome import DownloadStatus
from preprocessing.storage.files import file_sha256


def verify(
    path: Path, max_bytes: int, downloader: str, format_id: str, acodec: str | None = None
) -> Download:
    """Return the facts about a file, or a retryable failure if part of it is missing; the file goes then.

    Args:
        path: the received file.
        max_bytes: largest size allowed.
        downloader: name and version of the program that fetched it.
        format_id: the downloader's name of the format.
        acodec: audio codec, if the header of the file does not say.

    Raises:
        TooLargeError: the file is larger than allowed.
        UnreadableVideoError: the file is not a video.
    """
    size_bytes = path.stat().st_size
    require_file_size(size_bytes, max_bytes)
    info = probe(path)
    if problems := [*info.problems, *(one for one in find_damage(path) if one not in info.problems)]:
        path.unlink()
        message = f"got an incomplete video: {', '.join(problems)}"
        return Download(status=DownloadStatus.RETRYABLE, error=message)
    return Download(
        status=DownloadStatus.VERIFIED,
        file=path.name,
        size_bytes=size_bytes,
        sha256=file_sha256(path),
        format_id=format_id,
        vcodec=info.codec,
        acodec=info.audio_codec or acodec,
        width_px=info.width_px,
        height_px=info.height_px,
        fps=float(info.fps),
        duration_s=info.duration_s,
        downloader=downloader,
    )


def require_file_size(size_bytes: int, max_bytes: int) -> None:
    """Check a size in bytes.

    Raises:
        TooLargeError: it is above `max_bytes`.
    """
    if size_bytes > max_bytes:
        raise TooLargeError(
            f"got a file of {size_bytes} bytes; at most {max_bytes} are allowed; raise download.max_bytes"
        )
