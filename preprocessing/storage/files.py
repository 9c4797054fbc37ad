"""Atomic, durable writes of files and folders, and hashes of files."""

import ctypes
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
_PREVIOUS = ".previous"
_MAX_STEM_BYTES = 80
# Of Linux's renameat2, which Python does not wrap.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
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

    Whenever a process is killed, `folder` is the old one or the new one. Temporary folders of killed
    processes are removed first. Where the file system cannot exchange two folders (outside Linux, some
    network file systems), a process killed between two renames leaves the old folder under a hidden name
    beside `folder`, from which the next writer restores it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _restore(folder)
    _remove_abandoned(folder)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        for path in (*sorted(temporary.rglob("*")), temporary):
            make_durable(path)
        _replace_folder(temporary, folder)
        make_durable(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, folder: Path) -> None:
    """Give `new` the name `folder`; the old folder, if there was one, is then `new` or is removed."""
    if not folder.exists():
        new.replace(folder)
    elif not _exchange(new, folder):
        previous = folder.with_name(f".{folder.name}{_PREVIOUS}")
        folder.replace(previous)
        new.replace(folder)
        shutil.rmtree(previous, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders at once; return whether the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _restore(folder: Path) -> None:
    """Bring back the old folder of a process killed between the two renames of `_replace_folder`."""
    previous = folder.with_name(f".{folder.name}{_PREVIOUS}")
    if not previous.is_dir():
        return
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
    else:
        previous.replace(folder)


def move_durably(path: Path, target: Path) -> None:
    """Rename a file on one file system, replacing `target`, so that the result survives a power failure."""
    make_durable(path)
    path.replace(target)
    make_durable(target.parent)


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
        if path.name.startswith(prefix) and pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Return whether this machine has a process of that number."""
    # Without psutil, which machines that only train do not have.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def make_durable(path: Path) -> None:
    """Sync the file or folder at `path` to the disk, so that it outlives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
