"""Copies videos of this machine, listed by file:// addresses, from below `download.local_root`."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from preprocessing.download.failures import TooLargeError, classify, one_line
from preprocessing.download.verification import require_file_size, verify
from preprocessing.ledger import Download
from preprocessing.media.containers.packets import UnreadableVideoError
from preprocessing.media.frame_folder import pack_frames
from preprocessing.media.video_reader import probe
from preprocessing.outcome import Absence, DownloadStatus

PICTURES_FPS = 25
"""Frame rate at which the published recipes stored folders of pictures."""


def copy_local(url: str, folder: Path, local_root: Path | None, max_bytes: int) -> Download:
    """Copy a video, or pack a folder of pictures into one, and verify it.

    A link instead of a copy would let DVC change the original's permissions.
    """
    path = _path_below(local_root, url)
    if path is None:
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
        return Download(status=DownloadStatus.PERMANENT, error=message, absence=Absence.REMOVED)
    except (OSError, TooLargeError, UnreadableVideoError) as error:
        return Download(status=classify(error), error=one_line(error))
    if found.status is DownloadStatus.RETRYABLE:
        # Another copy of the same file would lack the same.
        return replace(found, status=DownloadStatus.PERMANENT, error=f"{found.error}; replace {path}")
    return found


def count_local_frames(url: str, local_root: Path | None) -> int:
    """Return how many pictures a video or a folder of pictures holds; 0 for one that `copy_local` refuses."""
    path = _path_below(local_root, url)
    if path is None or not path.exists():
        return 0
    try:
        return sum(1 for _ in path.iterdir()) if path.is_dir() else probe(path).num_frames
    except (OSError, UnreadableVideoError):
        return 0


def _path_below(local_root: Path | None, url: str) -> Path | None:
    """Return the path of a file:// address with links resolved; None if it is not below `local_root`."""
    path = Path(unquote(urlsplit(url).path)).resolve()
    return path if local_root is not None and path.is_relative_to(local_root.resolve()) else None


def _copy(path: Path, folder: Path, max_bytes: int) -> Path:
    files = path.iterdir() if path.is_dir() else (path,)
    require_file_size(sum(file.stat().st_size for file in files), max_bytes)
    if path.is_dir():
        pack_frames(path, folder / "video.mov", PICTURES_FPS)
        return folder / "video.mov"
    return Path(shutil.copyfile(path, folder / f"video{path.suffix.lower()}"))
