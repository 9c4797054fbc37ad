"""Files written whole or not at all, and hashes of what they hold."""

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
"""The disk is full, read-only or closed to us: the next write would fail too."""
_MAX_STEM_BYTES = 80
_MAX_SUFFIX_CHARS = 16


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends without an error.

    Parent folders are made. The bytes reach the disk before the name does, so that neither a killed process
    nor a power failure leaves half a file under `path`. Every writer has a temporary name of its own, which
    keeps the suffix of `path`; the last writer wins whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces `folder` when the block ends without an error.

    What a killed process left beside it is removed first. A process killed while the old folder is being
    replaced may leave neither; callers that cannot make the content again write versioned names instead.
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


def is_disk_error(error: BaseException) -> bool:
    """Tell whether the error comes from the disk itself; see `DISK_ERRORS`."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _temporary(path: Path) -> Path:
    # The suffix stays last, since some writers choose a format by it.
    suffix = path.suffix if len(path.suffix) <= _MAX_SUFFIX_CHARS else ""
    return path.with_name(f"{_prefix(path)}{os.getpid()}.{uuid.uuid4().hex[:8]}.partial{suffix}")


def _prefix(path: Path) -> str:
    # The beginning is enough where a name is as long as file systems allow.
    stem = os.fsdecode(os.fsencode(path.stem)[:_MAX_STEM_BYTES])
    return f".{stem}.{platform.node()[:_MAX_STEM_BYTES]}."


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary folders of processes of this machine that are gone."""
    prefix = _prefix(folder)
    for path in folder.parent.iterdir():
        pid = path.name.removeprefix(prefix).partition(".")[0]
        if path.name.startswith(prefix) and pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    # Not psutil, which the machines that only train do not have.
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
