"""Atomic, durable writes of files and folders, and hashes of files."""

import errno
import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Errors of a disk that is full, over quota, read-only or closed to us: the next write would fail too."""
_MAX_STEM_BYTES = 80
_MAX_SUFFIX_CHARS = 16


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends without an error.

    Parent folders are created. The content is synced before the rename, so neither a killed process nor a
    power failure leaves a partial file under `path`. Each writer has its own temporary name, which keeps the
    suffix of `path`; of concurrent writers the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        move_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces `folder` when the block ends without an error.

    Temporary folders of killed processes are removed first. A process killed while it replaces the old folder
    may leave neither; callers that cannot recreate the content should write to a new name each time.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_durably(path: Path, target: Path) -> None:
    """Rename a file on one file system, replacing `target`, so that the result survives a power failure."""
    _sync(path)
    path.replace(target)
    _sync(target.parent)


def is_disk_error(error: BaseException) -> bool:
    """Return whether the disk is full, read-only or closed to us; see `DISK_ERRORS`."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _temporary(path: Path) -> Path:
    # The suffix stays last, since some writers choose a format by it.
    suffix = path.suffix if len(path.suffix) <= _MAX_SUFFIX_CHARS else ""
    return path.with_name(f"{_prefix(path)}{os.getpid()}.{uuid.uuid4().hex[:8]}.partial{suffix}")


def _prefix(path: Path) -> str:
    # Truncated, since file systems limit the length of a name.
    stem = os.fsdecode(os.fsencode(path.stem)[:_MAX_STEM_BYTES])
    return f".{stem}.{platform.node()[:_MAX_STEM_BYTES]}."


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary folders of processes of this machine that no longer run."""
    prefix = _prefix(folder)
    for path in folder.parent.iterdir():
        pid = path.name.removeprefix(prefix).partition(".")[0]
        if path.name.startswith(prefix) and pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    # Without psutil, which machines that only train do not have.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
