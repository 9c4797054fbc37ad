"""pyarrow's view of an fsspec file system, which waits while the store is down.

A file is stored when it is closed, whole or not at all; a failed transfer is repeated from the start. A store
that is down is never taken for an empty one, as pyarrow's own handler takes it: fsspec's `isfile` and `isdir`
are False for any error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyarrow import Buffer, PythonFile
from pyarrow.fs import FileInfo, FileSelector, FileType, FSSpecHandler

from preprocessing.storage.outage import patiently


class PatientHandler(FSSpecHandler):
    """What pyarrow's `PyFileSystem` calls; sent to other processes as the fsspec file system alone."""

    def get_file_info(self, paths: Sequence[str]) -> list[FileInfo]:
        """Return what there is under each path."""
        return patiently(functools.partial(super().get_file_info, paths), ", ".join(paths))

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        """Return what there is in a folder.

        Raises:
            FileNotFoundError: there is no such folder, and the selector does not allow that.
            NotADirectoryError: it is a file.
        """
        base = selector.base_dir
        (found,) = self.get_file_info([base])
        if found.type == FileType.NotFound and selector.allow_not_found:
            return []
        if found.type == FileType.NotFound:
            raise FileNotFoundError(base)
        if found.type != FileType.Directory:
            raise NotADirectoryError(base)
        depth = None if selector.recursive else 1
        find = functools.partial(self.fs.find, base, maxdepth=depth, withdirs=True, detail=True)
        listed = patiently(find, base).items()
        return [
            self._create_file_info(path, info) for path, info in listed if path.strip("/") != base.strip("/")
        ]

    def create_dir(self, path: str, recursive: bool) -> None:
        """Make a folder, where the store has folders."""
        patiently(functools.partial(super().create_dir, path, recursive), path)

    def delete_dir(self, path: str) -> None:
        """Remove a folder and what is in it."""
        patiently(functools.partial(super().delete_dir, path), path)

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        patiently(functools.partial(super().delete_file, path), path)

    def open_input_stream(self, path: str) -> PythonFile:
        """Open a file for reading."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> PythonFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: there is none.
        """
        (found,) = self.get_file_info([path])
        if found.type != FileType.File:
            raise FileNotFoundError(path)
        opened = patiently(functools.partial(self.fs.open, path, mode="rb"), path)
        return PythonFile(_Download(opened, path), mode="r")

    def open_output_stream(self, path: str, metadata: object) -> PythonFile:
        """Open a file that is collected in memory and stored on closing; large ones have `put_file`."""

        def store(content: bytes) -> None:
            patiently(functools.partial(self.fs.pipe_file, path, content), path)

        return PythonFile(_Upload(store), mode="w")

    def put_file(self, file: Path, path: str) -> None:
        """Store a file of this machine."""
        patiently(functools.partial(self.fs.put_file, str(file), path), path)


class _Download:
    """A file of the store whose reading waits while the store is down."""

    def __init__(self, file: Any, path: str) -> None:  # noqa: ANN401 - fsspec's files have no common base
        self._file = file
        self._path = path

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        # A failed read leaves the position where it was.
        return patiently(functools.partial(self._file.read, size), self._path)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


class _Upload:
    """A small file, such as Ray's list of checkpoints, collected in memory and stored as a whole.

    It is no `io.IOBase`, which would store half of it when its writer fails and it is collected.
    """

    def __init__(self, store: Callable[[bytes], None]) -> None:
        self._store = store
        self._content = bytearray()
        self.closed = False

    def write(self, content: bytes | Buffer) -> int:
        """Collect bytes."""
        self._content += memoryview(content)
        return len(memoryview(content))

    def flush(self) -> None:
        """Do nothing: what is stored is stored by `close`."""

    def tell(self) -> int:
        """Return the number of bytes so far."""
        return len(self._content)

    def close(self) -> None:
        """Store the file."""
        if not self.closed:
            self._store(bytes(self._content))
        self.closed = True
