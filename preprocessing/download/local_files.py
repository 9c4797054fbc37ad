"""Copies videos of this machine, listed by file:// addresses, from below `download.local_root`."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from preprocessing.download.failures import TooLargeError, classify, one_line
from preprocessing.download.verification import require_file_size, verify
from preprocessing.ledger import Download
from preprocessing.media.frame_folder import pack_frames
from preprocessing.media.video_reader import UnreadableVideoError
from preprocessing.outcome import DownloadStatus

PICTURES_FPS = 25
"""Frame rate at which the published recipes stored folders of pictures."""


def copy_local(url: str, folder: Path, local_root: Path | None, max_bytes: int) -> Download:
    """Copy a video, or pack a folder of pictures into one, and verify it.

    A link instead of a copy would let DVC change the original's permissions.
    """
    path = Path(unquote(urlsplit(url).path)).resolve()
    if local_root is None or not path.is_relative_to(local_root.resolve()):
        message = (
            f"got {url}; local videos are allowed only below download.local_root, which is "
            f"{local_root or 'not set'}; set it to a folder that contains this one"
        )
        return Download(status=DownloadStatus.PERMANENT, error=message)
    try:
        copy = _copy(path, folder, max_bytes)
        found = verify(copy, max_bytes, downloader="packed" if path.is_dir() else "copied", format_id="file")
    except FileNotFoundError:
        message = f"got {url}, but there is no such file; correct the row"
        return Download(status=DownloadStatus.PERMANENT, error=message)
    except (OSError, TooLargeError, UnreadableVideoError) as error:
        return Download(status=classify(error), error=one_line(error))
    if found.status is DownloadStatus.RETRYABLE:
        # Another copy of the same file would lack the same.
        return replace(found, status=DownloadStatus.PERMANENT, error=f"{found.error}; replace {path}")
    return found


def _copy(path: Path, folder: Path, max_bytes: int) -> Path:
    files = path.iterdir() if path.is_dir() else (path,)
    require_file_size(sum(file.stat().st_size for file in files), max_bytes)
    if path.is_dir():
        pack_frames(path, folder / "video.mov", PICTURES_FPS)
        return folder / "video.mov"
    return Path(shutil.copyfile(path, folder / f"video{path.suffix.lower()}"))
