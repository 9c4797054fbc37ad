"""Signatures of a run's clips in a file without a name, since those of a million clips exceed memory."""

import os
import tempfile
import weakref
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FiledSignature:
    """One signature in a file."""

    file: "SignatureFile"
    offset: int
    """In bytes."""
    size: int
    """In bytes."""

    def __bytes__(self) -> bytes:
        return self.file.read(self.offset, self.size)


class SignatureFile:
    """A file that its process alone sees, and that the system removes with it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as what was added
        weakref.finalize(self, self._file.close)
        self._size = 0

    def add(self, signature: bytes) -> FiledSignature:
        """Write a signature; the calls may not overlap."""
        self._file.write(signature)
        place = FiledSignature(self, self._size, len(signature))
        self._size += len(signature)
        return place

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes that were written."""
        self._file.flush()
        return os.pread(self._file.fileno(), size, offset)
